"""Port numbers for servers that must be told theirs before they start.

The kernel chooses each port, and this process keeps a socket bound to it, without listening. The kernel then gives the
port to nobody else on this machine: not to another run of the tests, whoever runs it, and not to an outgoing connection.
Our server can still listen on it, as often as it restarts, because servers set SO_REUSEADDR and so does the kept socket.
"""

import atexit
import socket
from contextlib import ExitStack
from typing import Final

_ATTEMPTS: Final = 100
_kept: Final = ExitStack()
atexit.register(_kept.close)


def reserve_port() -> int:
    """Reserve a port on every IPv4 address of this machine until this process ends."""
    return reserve_ports(1)


def reserve_ports(count: int) -> int:
    """Reserve adjacent ports and return the first of them."""
    for _ in range(_ATTEMPTS):
        with ExitStack() as stack:
            try:
                first = _bind(stack, 0)
                for offset in range(1, count):
                    _bind(stack, first + offset)
            except (OSError, OverflowError):  # the next port is taken, or there is none
                continue
            _kept.push(stack.pop_all())
            return first
    raise AssertionError(f"no {count} free ports in a row")


def _bind(stack: ExitStack, port: int) -> int:
    kept = stack.enter_context(socket.socket())
    # Without SO_REUSEADDR, so that it fails where the port is taken or reserved.
    kept.bind(("0.0.0.0", port))
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound: int = kept.getsockname()[1]
    return bound
