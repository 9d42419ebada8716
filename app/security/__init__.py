"""Secrets: the vault, re-encryption with a new key, and trusted certificates."""
