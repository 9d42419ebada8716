"""The details of one deployment."""
