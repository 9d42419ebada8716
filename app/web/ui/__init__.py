"""The pages for people: a folder for each feature, with its routes; `views` has what each template is given."""
