"""Browsers of people who are signed in, without a browser: what the tests of pages share."""

import io
import re
from typing import Any

from werkzeug.test import TestResponse

import models
from tests.conftest import PASSWORD, PNG, Kissa, Person

OURS = {"Sec-Fetch-Site": "same-origin"}


class Browser:
    """One browser with its cookies; `username` is signed in, None is a visitor."""

    def __init__(self, kissa: Kissa, username: str | None = None) -> None:
        self.client = kissa.app.test_client()
        if username is not None:
            answer = self.post("/signin", username=username, password=PASSWORD)
            assert answer.status_code == 303, answer.text

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers=headers, buffered=True)

    def text(self, path: str) -> str:
        """A page that must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    def post(self, path: str, **form: Any) -> TestResponse:
        """What a form of a page of ours sends."""
        return self.client.post(path, data=form, headers=OURS, buffered=True)

    def does(self, path: str, **form: Any) -> str:
        """An act that must succeed; where it leads."""
        answer = self.post(path, **form)
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    def send(self, name: str = "cat.png", *, as_json: bool = False, **form: str) -> TestResponse:
        """An upload of a picture by the upload page."""
        headers = OURS | {"Accept": "application/json" if as_json else "text/html"}
        data = form | {"file": (io.BytesIO(PNG), name)}
        return self.client.post("/upload", data=data, headers=headers)


def error_of(answer: TestResponse) -> tuple[int, str]:
    """Status and sentence of an error page."""
    found = re.search(r"<h1>.*?</h1>\s*<p>(.*?)</p>", answer.text, re.DOTALL)
    assert found, answer.text
    return answer.status_code, found[1]


def approve(kissa: Kissa, admin: Person, item_id: int) -> int:
    answer = kissa.post(f"/api/v2/queue/{item_id}/approve", admin.by_admin_token)
    assert answer.status_code == 200, answer.text
    return item_id


def audit() -> list[tuple[str, str]]:
    """Act and target of every line of the audit, oldest first."""
    return [(row.act, row.target) for row in models.Audit.select().order_by(models.Audit.id)]
