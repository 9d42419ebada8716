"""The choice of a theme."""
