"""The steps of operations: each does one thing in Dokploy, and can take it back."""
