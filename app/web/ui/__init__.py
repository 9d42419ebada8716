"""The pages for people: a folder for each feature, with its routes and what its templates are given."""
