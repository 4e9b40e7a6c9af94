"""A report on a trained flow: one HTML page on its likelihood of held-out rows, and on the rows that it generates."""
