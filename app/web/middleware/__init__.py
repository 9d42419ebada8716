"""Middleware that every request and response passes. Plain ASGI."""
