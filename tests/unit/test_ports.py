"""Reserved ports: only who is told the number can use it."""

import errno
import socket
import subprocess
import sys

import pytest

from tests.ports import reserve_port, reserve_ports

# Holds what it has reserved until its input ends.
_RESERVE_MANY = """
import sys
from tests.ports import reserve_ports

print(*(reserve_ports(2) for _ in range(200)), flush=True)
sys.stdin.read()
"""


def test_two_processes_never_reserve_the_same_port():
    command = [sys.executable, "-c", _RESERVE_MANY]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe) as one,
        subprocess.Popen(command, stdin=pipe, stdout=pipe) as other,
    ):
        reserved = [int(port) for each in (one, other) if each.stdout for port in each.stdout.readline().split()]

    assert len(reserved) == len(set(reserved)) == 400
    assert len({port + offset for port in reserved for offset in (0, 1)}) == 800


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])
def test_a_server_listens_on_a_reserved_port_again_and_again(address: str):
    port = reserve_port()

    for _ in range(3):
        with socket.create_server((address, port)), socket.create_connection(("127.0.0.1", port)):
            pass


def test_nothing_listens_on_a_reserved_port_by_itself():
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", reserve_port())) == errno.ECONNREFUSED


def test_adjacent_ports_are_both_reserved():
    first = reserve_ports(2)

    for port in (first, first + 1):
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("0.0.0.0", port))
