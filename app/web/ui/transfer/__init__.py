"""Transferring a stack to another owner."""
