"""HTTP as bytes on a socket: for what no well-behaved client would send, or send so slowly."""

import socket
import struct
from dataclasses import dataclass

BOUNDARY = "kissa-test-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; the names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def form(content: bytes, field: str = "uploadFile", name: str = "shot.png") -> bytes:
    """A multipart body with one file."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    )
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def head(method: str, path: str, headers: dict[str, str] | None = None) -> bytes:
    """A request up to its body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: kissa.example"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def upload(token: str, content: bytes, **headers: str) -> bytes:
    """A whole upload by the nekos API."""
    body = form(content)
    fields = {"token": token, "Content-Type": FORM, "Content-Length": str(len(body))}
    return head("POST", "/api/files/upload", fields | headers) + body


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; the last one for no data."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Wire:
    """One connection. Use as a context manager."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._file = connection.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, has_body: bool = True) -> Answer:
        """The next answer. It has no body when a HEAD asked for it.

        Raises:
            ConnectionError: the server closed or reset the connection instead.
        """
        line = self._file.readline()
        if not line:
            raise ConnectionError("closed without an answer")
        headers: dict[str, str] = {}
        while (header := self._file.readline().strip()) != b"":
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        status = int(line.split()[1])
        body = b""
        if has_body and status >= 200:
            body = self._body(headers)
        return Answer(status=status, headers=headers, body=body)

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self._file.readline(), 16):
                parts.append(self._file.read(size))
                self._file.readline()
            self._file.readline()
            return b"".join(parts)
        length = headers.get("content-length")
        return self._file.read() if length is None else self._file.read(int(length))

    def reset(self) -> None:
        """Go away with an RST, as a client that crashed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
