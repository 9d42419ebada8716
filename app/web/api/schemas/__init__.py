"""The JSON of the API, both ways; one file a noun."""
