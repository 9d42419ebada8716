"""The heart: from a request to a plan, from a plan to a run that is finished or undone, every step of it recorded."""
