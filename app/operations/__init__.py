"""The operations on a stack, and the one way in which a request becomes a deployment."""
