"""tus 1.0.0 (https://tus.io/protocols/resumable-upload), for the doors that speak it."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, after_this_request, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.http import http_date
from werkzeug.wsgi import get_content_length

import announced
import auth
import intake
import metadata
import resumable
from auth import Environ
from blueprints.answers import deletion_url
from blueprints.receive import set_patience, stream_of
from body import abandon
from config import Site
from context import Services, get_services
from errors import Busy, Invalid, ServiceError, TooLarge, WrongType, WrongVersion
from resumable import Desk, Finished, Progress, Sender

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,expiration,checksum"
PIECE = "application/offset+octet-stream"
STALL_SECONDS = 15.0  # what has come by then is kept, and the client may come back
PROMPT_SECONDS = 0.03  # the same for what is dropped, where that takes a thread from all others
DROP_SECONDS = 5.0  # for all that is dropped, however steadily it comes
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_METHODS = ["OPTIONS", "HEAD", "PATCH", "DELETE", "POST"]
_lock = threading.Lock()
_sending = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tus:
    """One place to send files in pieces to.

    Args:
        path: where it is, below its door.
        authenticate: gives the sender, by headers alone, or raises Unauthorized.
    """

    path: str
    authenticate: Callable[[Environ], Sender]

    def register(self, bp: Blueprint) -> None:
        """Make it known to its door."""
        for path, name, view, methods in (
            (f"{self.path}/", "begin_resumable", self.begin, ["OPTIONS", "POST"]),
            (f"{self.path}/<name>", "resumable", self.go_on, _METHODS),
        ):
            bp.add_url_rule(
                path,
                name,
                view,
                methods=methods,
                strict_slashes=False,
                provide_automatic_options=False,
            )

    def begin(self) -> ResponseReturnValue:
        """OPTIONS: what is spoken here. POST: begin an upload, perhaps with its first bytes."""
        if request.method == "OPTIONS":
            return _spoken()
        with _dropping(PROMPT_SECONDS):
            services, sender = self._enter()
            if auth.header("Upload-Defer-Length"):
                raise Invalid("Upload-Defer-Length is not taken here; send Upload-Length.")
            begin = _begin_with_bytes if request.mimetype == PIECE else resumable.begin
            length, metadata = _number("Upload-Length"), auth.header("Upload-Metadata")
            progress = begin(_desk(services), sender, length, metadata)
        headers = _headers(services.config.site, sender, progress)
        headers["Location"] = f"{request.path.rstrip('/')}/{progress.name}"
        return Response(status=201, headers=headers)

    def go_on(self, name: str) -> ResponseReturnValue:
        """HEAD: how far it is. PATCH: the next bytes. DELETE: give it up. By POST these too, with
        X-HTTP-Method-Override."""
        if request.method == "OPTIONS":
            return _spoken()
        with _dropping(PROMPT_SECONDS):
            services, sender = self._enter()
            desk, method = _desk(services), request.method
            if method == "POST":
                method = auth.header("X-HTTP-Method-Override").upper()
            if method == "DELETE":
                resumable.give_up(desk, sender, name)
                return Response(status=204)
            if method == "PATCH":
                if request.mimetype != PIECE:
                    raise WrongType(f"The Content-Type must be {PIECE}.")
                progress = _receive(desk, sender, name, _number("Upload-Offset"))
            elif method == "HEAD":
                progress = resumable.look(desk, sender, name)
            else:
                raise MethodNotAllowed(["OPTIONS", "HEAD", "PATCH", "DELETE"])
        headers = _headers(services.config.site, sender, progress)
        if method == "PATCH":
            return Response(status=204, headers=headers)
        headers |= {"Upload-Length": str(progress.length), "Cache-Control": "no-store"}
        if progress.metadata:
            headers["Upload-Metadata"] = progress.metadata
        return Response(headers=headers)

    def _enter(self) -> tuple[Services, Sender]:
        after_this_request(_versioned)
        sender = self.authenticate(request.environ)
        if auth.header("Tus-Resumable") != VERSION:
            raise WrongVersion(f"This host speaks tus {VERSION}; say so in Tus-Resumable.")
        return get_services(), sender


def _begin_with_bytes(desk: Desk, sender: Sender, length: int, metadata: str) -> Progress:
    """Begin with the first bytes. Without them nothing is begun, since nobody knows where."""
    size = get_content_length(request.environ) or 0  # 0: nobody said
    if size > length:
        raise TooLarge("The body is longer than Upload-Length.")
    name = resumable.begin(desk, sender, length, metadata).name
    try:
        progress = _receive(desk, sender, name, 0)
        if progress.offset < size:
            raise Invalid("The body is incomplete.")
    except ServiceError:
        resumable.give_up(desk, sender, name)
        raise
    return progress


def _receive(desk: Desk, sender: Sender, name: str, offset: int) -> Progress:
    environ = request.environ
    with _place(desk.config.server.threads), _dropping(STALL_SECONDS):
        set_patience(environ, STALL_SECONDS)
        progress = resumable.receive(
            desk,
            sender,
            name,
            stream_of(environ),
            offset=offset,
            size=get_content_length(environ),
            checksum=announced.parse_checksum(auth.header("Upload-Checksum")),
            interrupt=lambda: _interrupt(environ),
        )
    if progress.finished and offset < progress.length:
        get_services().metrics.count_upload(sender.api, progress.length)
    return progress


def _interrupt(environ: Environ) -> None:
    """End the reading of a request whose client has come back by another connection."""
    connection: socket.socket | None = environ.get("gunicorn.socket")
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RD)


@contextmanager
def _place(threads: int) -> Iterator[None]:
    """Bytes come as slowly as the client sends them, since nginx does not collect these: half of
    the threads are always left for everything else.

    Raises:
        Busy: that many are receiving.
    """
    global _sending
    with _lock:
        if _sending >= max(1, threads // 2):
            raise Busy("Too many uploads are being received; try again soon.", retry_after=1)
        _sending += 1
    try:
        yield
    finally:
        with _lock:
            _sending -= 1


@contextmanager
def _dropping(seconds: float) -> Iterator[None]:
    """On a refusal, read and drop the body, so that the client sees the answer and no reset, as
    long as no byte takes `seconds`; then the connection is closed. Without a refusal whoever stalls
    has had their time."""
    environ, patience = request.environ, PROMPT_SECONDS
    try:
        yield
    except ServiceError:
        patience = seconds
        raise
    finally:
        set_patience(environ, patience)
        limit = get_services().config.uploads.piece_bytes
        if not intake.drain(stream_of(environ), limit, max(patience, DROP_SECONDS)):
            abandon(environ["wsgi.input"])
        set_patience(environ, None)


def _number(name: str) -> int:
    value = auth.header(name)
    if not _NUMBER.fullmatch(value):
        raise Invalid(f"{name} must be a whole number of bytes.")
    return int(value)


def _desk(services: Services) -> Desk:
    return Desk(config=services.config, store=services.storage, secret=services.secret)


def _headers(site: Site, sender: Sender, progress: Progress) -> dict[str, str]:
    headers = {"Upload-Offset": str(progress.offset)}
    if progress.finished is None:
        headers["Upload-Expires"] = http_date(progress.expires)
        return headers
    return headers | _outcome(site, sender.api, progress.finished)


def _outcome(site: Site, api: str, item: Finished) -> dict[str, str]:
    """What any other upload would be answered with, as headers."""
    headers = {"X-Deletion-URL": deletion_url(site, item.name, item.deletion_secret)}
    if item.metadata is not None:
        headers[metadata.HEADER] = item.metadata
    if not item.is_listed:
        return headers | {"X-File-URL": site.upload_url + item.name}
    waits_unseen = item.is_pending and api == "f0ckm"
    return headers | {
        "X-File-URL": site.url if waits_unseen else f"{site.url}{item.id}",
        "X-Item-ID": str(item.id),
        "X-Manual-Approval": "true" if item.is_pending else "false",
    }


def _spoken() -> Response:
    max_size = str(get_services().config.uploads.max_bytes)
    headers = {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": max_size,
        "Tus-Checksum-Algorithm": ",".join(announced.ALGORITHMS),
    }
    return Response(status=204, headers=headers)


def _versioned(response: Any) -> Any:
    response.headers["Tus-Resumable"] = VERSION
    if response.status_code == 412:
        response.headers["Tus-Version"] = VERSION
    return response
