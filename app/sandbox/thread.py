"""The emulator in a thread of its own on a free port, for tests that need real sockets."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from app.sandbox.app import create_emulator
from app.sandbox.settings import SandboxSettings
from app.sandbox.wire import wire_class

# How long it may take to start, and to stop, on a machine that is busy.
_PATIENCE_SECONDS: Final = 60.0


@contextmanager
def serve_in_thread(settings: SandboxSettings | None = None, port: int = 0) -> Iterator[str]:
    """Serve an emulated Dokploy on 127.0.0.1 and tell its address; port 0 takes a free one."""
    listening = socket.create_server(("127.0.0.1", port))
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        create_emulator(settings or SandboxSettings()),
        http=wire_class(),
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=[[listening]], name="emulated-dokploy", daemon=True)
    thread.start()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("The emulated server did not start.")
        time.sleep(0.01)
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join(timeout=_PATIENCE_SECONDS)
