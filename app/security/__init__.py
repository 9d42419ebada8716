"""Secrets: the vault that seals them, their re-encryption under a new key, and whose certificates are trusted."""
