"""Multipart bodies byte for byte, right and wrong, and the two endpoints that take them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from werkzeug.test import TestResponse

from models import Item
from tests.conftest import PNG, Kissa, Person

BOUNDARY = b"----kissa1234567890"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY.decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One of the two places that take uploads."""

    path: str
    field: bytes
    headers: Callable[[Person], dict[str, str]]
    fields: tuple[tuple[bytes, bytes], ...] = ()

    def parts(self, content: bytes = PNG, filename: bytes = b"a.png") -> list[bytes]:
        """The parts of a good upload, the file last."""
        parts = [part(name, value) for name, value in self.fields]
        return [*parts, part(self.field, content, filename)]

    def body(self, content: bytes = PNG, filename: bytes = b"a.png") -> bytes:
        return form(*self.parts(content, filename))


NEKOS = Endpoint(path="/api/files/upload", field=b"uploadFile", headers=lambda p: p.by_token)
F0CKM = Endpoint(
    path="/api/v2/upload",
    field=b"file",
    headers=lambda p: p.by_key,
    fields=((b"rating", b"sfw"), (b"tags", b"cat, cute, feline")),
)
both_endpoints = pytest.mark.parametrize(
    "endpoint", [pytest.param(NEKOS, id="nekos"), pytest.param(F0CKM, id="f0ckm")]
)


def part(name: bytes, content: bytes, filename: bytes | None = None, headers: bytes = b"") -> bytes:
    """One part without its boundary; `headers` are whole lines."""
    disposition = b'Content-Disposition: form-data; name="' + name + b'"'
    if filename is not None:
        disposition += b'; filename="' + filename + b'"'
    return disposition + b"\r\n" + headers + b"\r\n" + content


def form(*parts: bytes) -> bytes:
    """The whole body."""
    opening = b"--" + BOUNDARY + b"\r\n"
    return b"".join(opening + one + b"\r\n" for one in parts) + b"--" + BOUNDARY + b"--\r\n"


def send(
    kissa: Kissa,
    endpoint: Endpoint,
    person: Person,
    body: bytes,
    content_type: str = MULTIPART,
    *,
    headers: dict[str, str] | None = None,
    **environ: Any,
) -> TestResponse:
    """Send these bytes; `environ` changes what the server would tell the app."""
    return kissa.client.post(
        endpoint.path,
        headers=endpoint.headers(person) | (headers or {}),
        data=body,
        content_type=content_type,
        environ_overrides={key.replace("__", "."): value for key, value in environ.items()},
    )


# A body of no announced length, as gunicorn hands a chunked one over.
UNANNOUNCED: dict[str, Any] = {"CONTENT_LENGTH": "", "wsgi__input_terminated": True}


def check_refused(response: TestResponse, status: int) -> str:
    """See that this is one sentence in its API's shape; returns the sentence."""
    assert response.status_code == status, response.text
    if response.request.path.startswith("/api/v2/"):
        answer = response.get_json()
        assert list(answer) == ["success", "msg"]
        assert answer["success"] is False
        text = answer["msg"]
    else:
        assert response.content_type == "text/plain; charset=utf-8"
        text = response.text
    assert text.strip() == text
    assert 8 < len(text) < 200
    assert text.isprintable()
    assert "Traceback" not in text
    return str(text)


def check_nothing_left(kissa: Kissa) -> None:
    """See that no file and no row came of it."""
    assert kissa.files() == set()
    assert Item.select().count() == 0
