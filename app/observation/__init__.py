"""Observation of Dokploy and of stacks' addresses: progress, answers, drift and leftovers."""
