"""An example of a package that adds components to flowlab: one file and one entry point each."""
