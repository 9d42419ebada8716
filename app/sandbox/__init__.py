"""An emulated Dokploy v0.30 server: the calls a portal needs, with their quirks, and faults on demand."""

from app.sandbox.app import create_emulator
from app.sandbox.settings import SandboxSettings
from app.sandbox.thread import serve_in_thread
from app.sandbox.wire import wire_class

__all__ = ["SandboxSettings", "create_emulator", "serve_in_thread", "wire_class"]
