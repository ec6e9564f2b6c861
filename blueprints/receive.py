"""What both upload endpoints do with a request: refuse before the body, read it, answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Response, request

import intake
import items
from context import get_config, get_services, get_storage
from errors import ServiceError, TooLarge
from intake import Received, Stream
from items import Created
from models import User


@contextmanager
def receive(authenticate: Callable[[], User], file_field: str) -> Iterator[tuple[User, Received]]:
    """The sender and what was sent; whatever is refused inside leaves nothing behind.

    Args:
        authenticate: gives the user, by headers alone.
        file_field: the documented field of the file.

    Raises:
        Unauthorized, TooMany, TooLarge, NoSpace: before the body is read.
        NoFile, Invalid: from the body.
    """
    config, store, stream = get_config(), get_storage(), _body()
    max_body = config.uploads.max_body_bytes
    _set_patience(intake.STALL_SECONDS)
    try:
        user = authenticate()
        items.require_rate(config.uploads.per_minute, user.id)
        length = request.content_length or 0
        if length > max_body:
            raise TooLarge(intake.too_large(config.uploads.max_bytes))
        store.require_space(length)
        items.require_database_space()
        received = intake.read(
            stream,
            request.headers.get("Content-Type", ""),
            file_field=file_field,
            max_file=config.uploads.max_bytes,
            max_body=max_body,
            open_file=store.open,
            length=request.content_length,
        )
    except ServiceError:
        _set_patience(intake.DRAIN_SECONDS)
        intake.drain(stream, max_body)
        raise
    finally:
        _set_patience(None)
    try:
        yield user, received
        assert received.file is not None
        get_services().metrics.count_upload(str(request.blueprint), received.file.size)
    finally:
        received.close()


def wants_text() -> bool:
    """Whether the client asks for the bare URL: scripts without a JSON parser do."""
    accept = request.headers.get("Accept", "").lower()
    return "text/plain" in accept and "application/json" not in accept


def answer(created: Created, url: str, render: Callable[[], Response]) -> Response:
    """The answer to an upload: `render()`, or the bare `url`; with the deletion link either way."""
    if wants_text():
        response = Response(f"{url}\n", content_type="text/plain; charset=utf-8")
    else:
        response = render()
    site = get_config().site.url
    response.headers["X-Deletion-URL"] = f"{site}delete/{created.name}/{created.deletion_secret}"
    return response


def field_or_query(received: Received, name: str) -> str:
    """A form field, or where the form has none the query: some ShareX clients send nothing else."""
    value = received.fields.get(name)
    return request.args.get(name, "") if value is None else value


def _set_patience(seconds: float | None) -> None:
    """How long a read of the body waits for its next byte, where the server is gunicorn: a client
    that stalls must not hold a thread for ever."""
    socket = request.environ.get("gunicorn.socket")
    if socket is not None:
        socket.settimeout(seconds)


def _body() -> Stream:
    """The body as the server hands it over: a server that ends it by itself needs no wrapper,
    which would also tell a cut-off body in words of its own."""
    if request.environ.get("wsgi.input_terminated"):
        stream: Stream = request.environ["wsgi.input"]
        return stream
    request.max_content_length = request.content_length  # None would be the app's small limit
    return request.stream
