"""Debian's nginx and haproxy in front of a portal: processes of their own, with a configuration written for each."""

import os
import pwd
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.ports import reserve_port
from tests.programs import need_program
from tests.waiting import WAIT_SECONDS, wait_until

PACKAGES: Final = {"nginx": "nginx-light", "haproxy": "haproxy"}

# Everything is as nginx has it by default, and gzip as Debian's own file has it; the paths are for a process among tests.
_NGINX: Final = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{}}
http {{
    access_log off;
    gzip on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {front}
        location / {{
            proxy_pass {upstream};
            {lines}
        }}
    }}
}}
"""

# The first example of haproxy's own manual, with its time limits.
_HAPROXY: Final = """\
global
    maxconn 256
defaults
    mode http
    timeout connect 5000ms
    timeout client 50000ms
    timeout server 50000ms
frontend http-in
    bind 127.0.0.1:{port}
    default_backend servers
    {front}
backend servers
    server portal {address}
    {lines}
"""


@contextmanager
def serve_proxy(name: str, folder: Path, upstream: str, *lines: str, front: Sequence[str] = ()) -> Iterator[str]:
    """Serve a portal behind a proxy for as long as the block lasts, and tell the address.

    lines: what is added to its defaults: in nginx's `location`, or in haproxy's `backend`; front: in nginx's `server`, or
    in haproxy's `frontend`.
    """
    program, port = need_program(name), reserve_port()
    folder = folder / f"{name}-{port}"
    folder.mkdir()
    values = {"folder": folder, "port": port, "upstream": upstream, "lines": "\n    ".join(lines)}
    values["front"] = "\n    ".join(front)
    if name == "nginx":
        # As root it would give its workers to somebody who may not enter the folder of a test.
        user = f"user {pwd.getpwuid(0).pw_name};" if os.getuid() == 0 else ""
        text = _NGINX.format(**values, user=user)
        command = [program, "-p", str(folder), "-e", "error.log", "-c", "proxy.conf"]
    else:
        text = _HAPROXY.format(**values, address=urlsplit(upstream).netloc)
        command = [program, "-db", "-f", "proxy.conf"]
    (folder / "proxy.conf").write_text(text)
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _until_it_listens(process, port, folder)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(WAIT_SECONDS)


def _until_it_listens(process: "subprocess.Popen[bytes]", port: int, folder: Path) -> None:
    output = folder / "output"

    def listens() -> bool:
        assert process.poll() is None, f"It ended by itself:\n{output.read_text()}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, tell=output.read_text)
