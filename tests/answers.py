"""What an answer says, whole: status, type, body; and the refusals that many tests expect."""

from werkzeug.test import TestResponse

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
UNKNOWN_TOKEN = (401, TEXT, "The token is missing or not valid.")
WRONG_LOGIN = (401, TEXT, "The username or the password is wrong.")
NEEDS_ADMIN = (403, TEXT, "An admin token is needed here; this is an upload token.")
NO_USER = (404, TEXT, "There is no user of this name.")
LAST_ADMIN = (409, TEXT, "This is the last admin; make another one first.")


def told(response: TestResponse) -> tuple[int, str | None, str]:
    """All that a client sees of an answer: its status, its Content-Type, its body."""
    return response.status_code, response.content_type, response.text


def missing(name: str) -> tuple[int, str, str]:
    """The refusal for a missing input."""
    return 400, TEXT, f"Missing {name}."
