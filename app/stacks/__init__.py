"""Stacks: names, plans, templates, volumes and owners, and how they are read from the store."""
