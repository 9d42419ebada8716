"""What every request passes before it is routed, and every answer on its way out. Plain ASGI."""
