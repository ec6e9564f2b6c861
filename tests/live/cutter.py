"""A connection that breaks: a relay that cuts clients off after so many bytes."""

import select
import socket
import struct
import threading
from contextlib import suppress

_BLOCK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the next close is a reset


class Cutter:
    """Passes connections on to a port. Use as a context manager.

    Args:
        port: where to, on this machine.
        cuts: after how many bytes from clients, counted from one cut to the next, the connection
            that brought them is reset; after the last one nothing is cut any more.
        keeps: whether it keeps what clients have sent, in `heard`.
    """

    def __init__(self, port: int, *cuts: int, keeps: bool = False) -> None:
        self.cuts = list(cuts)
        self.heard = bytearray()
        self._keeps = keeps
        self.passed = 0  # since the last cut
        self._target = port
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Cutter":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        with client, server, suppress(OSError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for source in ready:
                    data = source.recv(_BLOCK)
                    if not data:
                        return
                    if source is server:
                        client.sendall(data)
                        continue
                    if self._keeps:
                        self.heard += data
                    room = self._room(len(data))
                    server.sendall(data[:room])
                    if room < len(data):
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        return

    def _room(self, size: int) -> int:
        """How many of these bytes pass."""
        with self._lock:
            if not self.cuts or self.passed + size <= self.cuts[0]:
                self.passed += size
                return size
            room = self.cuts.pop(0) - self.passed
            self.passed = 0
            return room
