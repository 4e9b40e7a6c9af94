"""Tables: the kinds of columns, and the schema that takes rows to points of a flow and back."""
