"""Multipart bodies written by hand: every order of parts, and broken ones."""

from typing import Any

BOUNDARY = "kissa-tests-boundary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
END = f"--{BOUNDARY}--\r\n".encode()


def field(name: str, value: str) -> bytes:
    """A text field."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return head.encode() + value.encode() + b"\r\n"


def file(name: str, content: bytes, file_name: str = "cat.png") -> bytes:
    """A file part."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"'
        "\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + content + b"\r\n"


def form(*parts: bytes, end: bytes = END) -> dict[str, Any]:
    """What to hand to the client's `post` to send these parts in this order."""
    return {"data": b"".join(parts) + end, "content_type": CONTENT_TYPE}
