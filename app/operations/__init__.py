"""The operations on a stack: the table of verbs, their steps, and how a request becomes a deployment."""
