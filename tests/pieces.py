"""A client of the tus protocol over the test client: what the tests of uploads in pieces share."""

import base64
from typing import Any

from werkzeug.test import TestResponse

from tests.conftest import Kissa, Person

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = "application/offset+octet-stream"
PATH = "/api/files/tus/"


def metadata(**fields: str | bytes) -> dict[str, Any]:
    """The header Upload-Metadata."""
    pairs = []
    for key, value in fields.items():
        data = value.encode() if isinstance(value, str) else value
        pairs.append(f"{key} {base64.b64encode(data).decode()}")
    return {"Upload-Metadata": ",".join(pairs)}


class Pieces:
    """Sends files in pieces, with these headers."""

    def __init__(self, kissa: Kissa, who: dict[str, str], path: str = PATH) -> None:
        self.kissa, self.headers, self.path = kissa, TUS | who, path

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> TestResponse:
        """Any request; a header's `_` stands for `-`, and an empty one is left out."""
        given = self.headers | {key.replace("_", "-"): value for key, value in headers.items()}
        given = {key: value for key, value in given.items() if value}
        length = given.pop("Content-Length", None)  # the client would correct it
        environ = {"CONTENT_LENGTH": length} if length else {}
        return self.kissa.client.open(
            path, method=method, headers=given, data=body, environ_overrides=environ
        )

    def begin(self, length: int, name: str = "film.mp4", **fields: str) -> str:
        """The path of a new upload."""
        described = metadata(filename=name, **fields)
        answer = self.ask("POST", self.path, Upload_Length=str(length), **described)
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"]

    def send(self, path: str, offset: int, body: bytes, **headers: str) -> TestResponse:
        return self.ask(
            "PATCH", path, body, **{"Upload_Offset": str(offset), "Content_Type": PIECE} | headers
        )

    def offset(self, path: str) -> int:
        answer = self.ask("HEAD", path)
        assert answer.status_code == 200, answer.status
        return int(answer.headers["Upload-Offset"])

    def whole(self, content: bytes, **more: Any) -> TestResponse:
        """The answer to the last of two pieces."""
        path = self.begin(len(content), **more)
        half = len(content) // 2
        assert self.send(path, 0, content[:half]).status_code == 204
        return self.send(path, half, content[half:])


def by_token(kissa: Kissa, person: Person) -> Pieces:
    return Pieces(kissa, person.by_token)


def by_key(kissa: Kissa, person: Person) -> Pieces:
    return Pieces(kissa, person.by_key)
