"""An emulated Dokploy v0.30 server: the calls a portal needs, with their quirks, and faults on demand."""

from app.sandbox.app import create_emulator
from app.sandbox.settings import SandboxSettings

__all__ = ["SandboxSettings", "create_emulator"]
