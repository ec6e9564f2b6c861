"""Asks the running server for /healthz, on whatever [server] bind says; status 0 if it is well."""

import http.client
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import config as configuration

PATIENCE = 4.0  # seconds


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


def status(bind: str) -> int:
    """The status of the answer.

    Raises:
        OSError: there is none.
    """
    if bind.startswith("unix:"):
        connection = _UnixConnection(bind.removeprefix("unix:"))
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    host, _, port = bind.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    opener: Any = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{host}:{port}/healthz", timeout=PATIENCE) as answer:
        return int(answer.status)


if __name__ == "__main__":
    try:
        sys.exit(status(configuration.load().server.bind) != 200)
    except (configuration.ConfigError, OSError, http.client.HTTPException) as error:
        sys.exit(f"{error}")
