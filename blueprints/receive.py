"""What every upload endpoint does with a request: refuse before the body, read it, answer."""

import json
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from flask import Flask, Response, g, request
from werkzeug.wsgi import get_content_length, get_input_stream

import albums
import cores
import expiry
import intake
import items
import metadata
import models
from auth import Environ, header_of
from blueprints.answers import album_url, deletion_url, rfc3339
from body import Stream, large_reads
from context import Services, get_services, services_of
from errors import ServiceError, TooLarge
from intake import Received
from items import Created, NewItem
from listing import Listing
from storage import Incoming

_to_json = json.JSONEncoder(separators=(",", ":")).encode  # made once; `dumps` would each time
SMALL = 1024 * 1024  # bytes of a body; above that a core has enough to do with one


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One upload as it was sent.

    Args:
        environ: the request.
        user_id: who sent it.
        received: what the body held.
        query: what stands behind the address, each name with its values.
        told: headers that the answer gets besides its own.
    """

    environ: Environ
    user_id: int
    received: Received
    query: dict[str, list[str]]
    told: list[tuple[str, str]] = field(default_factory=list)

    def wish(self, name: str) -> str:
        """An optional input of ours: from the header, else the form, else the query."""
        return header_of(self.environ, name) or self.field_or_query(name)

    def field_or_query(self, name: str) -> str:
        """A form field, or where the form has none the query: some ShareX clients send nothing
        else."""
        value = self.received.fields.get(name)
        return self.query.get(name, [""])[0] if value is None else value


class Answer(NamedTuple):
    """The answer to an upload that was stored."""

    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One way to send a file.

    Args:
        api: under which its uploads are counted.
        path: where it is.
        file_field: the documented field of the file.
        authenticate: gives the id of the user, by headers alone, or raises Unauthorized.
        store: makes an item of what was sent, and the answer.
    """

    api: str
    path: str
    file_field: str
    authenticate: Callable[[Environ], int]
    store: Callable[[Services, Sent], Any]

    def run(self, services: Services, environ: Environ, length: int) -> Any:
        """Serve a request: what `store` returned. Whatever is refused leaves nothing behind.

        Args:
            length: bytes that the body was announced to have; 0 when nobody said.

        Raises:
            Unauthorized, TooMany, TooLarge, NoSpace: before the body is read.
            NoFile, Invalid: from the body.
            whatever `store` raises.
        """
        user_id, received = self._receive(services, environ, length)
        try:
            text = environ.get("QUERY_STRING", "")
            query = parse_qs(text) if text else {}
            sent = Sent(environ=environ, user_id=user_id, received=received, query=query)
            answer = self.store(services, sent)
            assert received.file is not None
            services.metrics.count_upload(self.api, received.file.size)
        finally:
            received.close()
        return answer

    def _receive(self, services: Services, environ: Environ, length: int) -> tuple[int, Received]:
        rules, stream = services.config.uploads, stream_of(environ)
        try:
            user_id = self.authenticate(environ)
            items.require_rate(rules.per_minute, user_id)
            if length > rules.max_body_bytes:
                raise TooLarge(intake.too_large(rules.max_bytes))
            services.storage.require_space(length)
            items.require_database_space()
            received = intake.read(
                stream,
                environ.get("CONTENT_TYPE", ""),
                file_field=self.file_field,
                max_file=rules.max_bytes,
                max_body=rules.max_body_bytes,
                open_file=services.storage.open,
                length=length,
            )
        except ServiceError:
            intake.drain(stream, rules.max_body_bytes)
            raise
        return user_id, received

    def view(self) -> Any:
        """The same for a request that came through Flask."""
        answer = self.run(get_services(), request.environ, _length(request.environ))
        if isinstance(answer, Answer):
            return Response(answer.body, headers=answer.headers)
        return answer


class Shortcut:
    """Uploads before Flask's own dispatch, which takes a third of a 100 KB upload's processor time
    (docs/performance.md). Everything else, and each refusal, goes through Flask; without this in
    front of it, uploads do too.

    Args:
        app: the application; its `wsgi_app` is what this stands in front of.
        endpoints: those whose `store` makes an `Answer`.

    Attributes:
        inner: Flask's own way.
    """

    def __init__(self, app: Flask, *endpoints: Endpoint) -> None:
        self._app = app
        self.inner = app.wsgi_app
        self._endpoints = {endpoint.path: endpoint for endpoint in endpoints}

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """WSGI."""
        endpoint = self._endpoints.get(environ["PATH_INFO"])
        if endpoint is None or environ["REQUEST_METHOD"] != "POST":
            cores.spread()
            return self.inner(environ, start_response)
        length = _length(environ)
        is_small = 0 < length <= SMALL
        if is_small:
            cores.gather()
        else:
            cores.spread()
        began = time.perf_counter()
        try:
            services = services_of(self._app)
            with models.expect_write() if is_small else nullcontext():
                answer: Answer = endpoint.run(services, environ, length)
        except Exception as error:
            return self._refuse(error, began, environ, start_response)
        start_response("200 OK", answer.headers)
        seconds = time.perf_counter() - began
        services.metrics.count_request(endpoint.api, "POST", 200, seconds)
        return [answer.body]

    def _refuse(
        self, error: Exception, began: float, environ: Environ, start_response: Any
    ) -> Iterable[bytes]:
        """What Flask makes of an error in a view, with the handlers of the endpoint's door."""
        app = self._app
        with app.request_context(environ):
            g.began = began
            response = app.make_response(app.handle_user_exception(error))
            return app.process_response(response)(environ, start_response)


def _length(environ: Environ) -> int:
    return get_content_length(environ) or 0


def create(services: Services, sent: Sent, listing: Listing | None = None) -> Created:
    """Make an item of what was sent, with the optional inputs of ours.

    Args:
        sent: with its one file, which `intake.require_file` has seen.
        listing: what was said for the gallery; without it the item is unlisted.

    Raises:
        Invalid: an input is not one.
        whatever `items.create` raises.
    """
    config, received = services.config, sent.received
    new = NewItem(
        user_id=sent.user_id,
        original_name=received.original_name,
        listing=listing,
        album=albums.read_title(sent.wish("album")),
        expires=expiry.check(config.uploads, sent.wish("expires")),
    )
    file = _strip(services, sent, intake.require_file(received), is_listed=listing is not None)
    created = items.create(config, services.storage, new, file)
    if created.expires is not None:
        sent.told.append(("Expires-At", rfc3339(created.expires)))
    return created


def _strip(services: Services, sent: Sent, file: Incoming, *, is_listed: bool) -> Incoming:
    """Take the metadata out of a received picture, where sender or configuration ask for it: the
    file to keep, which is what was received from now on."""
    wish = sent.wish("strip-metadata") or sent.field_or_query("strip_metadata")
    stripped = metadata.apply(
        services.config, services.storage, file, is_listed=is_listed, wish=wish
    )
    if stripped.file is not file:
        file.close()
        sent.received.file = stripped.file
    if stripped.outcome is not None:
        sent.told.append((metadata.HEADER, stripped.outcome))
    return stripped.file


def answer(services: Services, sent: Sent, created: Created, url: str, document: Any) -> Answer:
    """The answer to an upload, with its deletion link: `document` as JSON, or the bare `url` for
    scripts without a JSON parser."""
    accept = sent.environ.get("HTTP_ACCEPT", "").lower()
    if "text/plain" in accept and "application/json" not in accept:
        kind, text = "text/plain; charset=utf-8", url
    else:
        kind, text = "application/json", _to_json(document)
    body = f"{text}\n".encode()
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(len(body))),
        *links(services, created),
        *sent.told,
    ]
    return Answer(headers, body)


def links(services: Services, created: Created) -> list[tuple[str, str]]:
    """The headers that lead to what was stored: the page that deletes it; unless it waits, the page
    that shows it and the file itself; and the album that it went into."""
    site = services.config.site
    found = [("X-Deletion-URL", deletion_url(site, created.name, created.deletion_secret))]
    if not created.is_pending:
        found.append(("X-View-URL", f"{site.url}v/{created.name}"))
        found.append(("X-File-URL", site.upload_url + created.name))
    if created.album:
        found.append(("X-Album-URL", album_url(site, created.album)))
    return found


def set_patience(environ: Environ, seconds: float | None) -> None:
    """How long a read of the body waits for its next byte, where the server is gunicorn: a client
    that stalls must not hold a thread for ever."""
    socket = environ.get("gunicorn.socket")
    if socket is not None:
        socket.settimeout(seconds)


def stream_of(environ: Environ) -> Stream:
    """The body as the server hands it over: a server that ends it by itself needs no wrapper,
    which would also tell a cut-off body in words of its own."""
    if environ.get("wsgi.input_terminated"):
        return large_reads(environ["wsgi.input"])
    stream: Stream = get_input_stream(environ)
    return stream
