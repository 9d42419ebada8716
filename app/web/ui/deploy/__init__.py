"""The first page: the form for a new stack."""
