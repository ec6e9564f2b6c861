"""A multipart body, read once in large blocks: its fields, and its one file into storage."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from multipart import parse_options_header as parse_options

from body import Stream
from errors import Invalid, NoFile, TooLarge
from storage import Incoming

BLOCK = 256 * 1024  # bytes asked for at once; below that gunicorn copies much of them again
MAX_PARTS = 50
MAX_FIELDS_SIZE = 256 * 1024  # bytes of all fields together
MAX_FIELD_NAME = 64
DRAIN_SECONDS = 30.0
_BROKEN = "The multipart body is broken or incomplete."


@dataclass(slots=True, kw_only=True)
class Received:
    """What a form held: the text of its fields (the first of each name), and its file if any.

    `file` is sealed or discarded by whoever asked for it; `original_name` is the client's.
    """

    fields: dict[str, str] = field(default_factory=dict)
    file: Incoming | None = None
    original_name: str = ""
    stray_field: str | None = None  # the field of a file that was sent under another name
    has_more_files: bool = False

    def close(self) -> None:
        """Discard the file unless it was published."""
        if self.file is not None:
            self.file.close()


def read(
    stream: Stream,
    content_type: str,
    *,
    file_field: str,
    max_file: int,
    max_body: int,
    open_file: Callable[[str], Incoming],
    length: int | None = None,
) -> Received:
    """Read a multipart body to its end.

    Args:
        stream: the body.
        content_type: the request's Content-Type, with the boundary.
        file_field: the name of the field whose file is wanted; other files are read and dropped.
        max_file: bytes that the file may have.
        max_body: bytes that the body may have.
        open_file: gives a place for the bytes of a file that the client calls so.
        length: how many bytes the body was announced to have; None when nobody said.

    Returns:
        what was received. The caller closes it.

    Raises:
        NoFile: this is no form, or it is broken before any file was complete.
        Invalid: the body is broken or incomplete.
        TooLarge: file, body, fields or their number pass a limit.
        NoSpace: there is no room for it.
    """
    boundary = _boundary(content_type)
    received = Received()
    try:
        reader = _Reader(received, file_field, max_file, open_file)
        reader.run(stream, boundary, max_body, length or 0)
    except BaseException:
        received.close()
        raise
    return received


def require_file(received: Received) -> Incoming:
    """The form's one file.

    Raises:
        NoFile: it has none.
        Invalid: it is empty, or one of several.
    """
    if received.file is None:
        raise NoFile("No file provided")
    if received.has_more_files:
        raise Invalid("Send one file at a time.")
    if received.file.size == 0:
        raise Invalid("The file is empty.")
    return received.file


class _Reader:
    """The parser's events, taken one by one."""

    def __init__(
        self,
        received: Received,
        file_field: str,
        max_file: int,
        open_file: Callable[[str], Incoming],
    ) -> None:
        self.received = received
        self.file_field = file_field
        self.max_file = max_file
        self.open_file = open_file
        self.segment: MultipartSegment | None = None
        self.text: list[bytes] | None = None  # the field being read
        self.into: Incoming | None = None  # the file being read
        self.fields_size = 0
        self.has_complete_file = False

    def run(self, stream: Stream, boundary: str, max_body: int, length: int) -> None:
        size = 0
        try:
            parser = PushMultipartParser(
                boundary,
                max_segment_count=MAX_PARTS,
                header_charset="utf8",
            )
            while count := self.take_block(parser, stream, max_body - size):
                size += count
            parser.close()  # raises when the last boundary has not come
            if size < length:  # RFC 9112 8: incomplete, though the parser has all that it needs
                raise _Cut
        except ParserLimitReached as error:
            raise TooLarge(
                "The form has too many parts, or a part with too long headers."
            ) from error
        except (MultipartError, UnicodeError, _Cut) as error:
            raise (Invalid if self.has_complete_file else NoFile)(_BROKEN) from error

    def take_block(self, parser: PushMultipartParser, stream: Stream, room: int) -> int:
        """Read one block, which may have `room` bytes at most, and take what is in it: its size, 0
        at the end. It is gone before the next one comes, or each large upload would hold two."""
        block = _read_block(stream)
        if len(block) > room:
            raise TooLarge(too_large(self.max_file))
        if block and not parser.closed:
            for event in parser.parse(block):
                self.take(event)
        return len(block)

    def take(self, event: Any) -> None:
        if event is None:
            self.end()
        elif self.segment is None:
            self.segment = event
            self.begin(event)
        elif self.into is not None:
            if self.into.size + len(event) > self.max_file:
                raise TooLarge(too_large(self.max_file))
            self.into.write(event)
        elif self.text is not None:
            self.fields_size += len(event)
            if self.fields_size > MAX_FIELDS_SIZE:
                raise TooLarge("The fields of the form are too long.")
            self.text.append(event)

    def begin(self, segment: MultipartSegment) -> None:
        if segment.filename is None:
            self.text = []
        elif segment.filename == "" or segment.name != self.file_field:
            # A browser sends an empty name for a file input left empty.
            if segment.filename:
                self.received.stray_field = segment.name
        elif self.received.file is not None:
            self.received.has_more_files = True
        else:
            self.into = self.received.file = self.open_file(segment.filename)
            self.received.original_name = segment.filename

    def end(self) -> None:
        assert self.segment is not None
        if self.text is not None and len(self.segment.name) <= MAX_FIELD_NAME:
            self.received.fields.setdefault(self.segment.name, decode(b"".join(self.text)))
        if self.into is not None:
            self.has_complete_file = True
        self.segment = self.text = self.into = None


def decode(text: bytes) -> str:
    """What a client sent: UTF-8 where it is that strictly, else latin-1 (curl sends the one,
    `fetch` and `requests` the other)."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def drain(stream: Stream, limit: int, seconds: float = DRAIN_SECONDS) -> bool:
    """Read and drop what is left of a refused body, so that the client sees the answer and no
    reset: up to `limit` bytes and so many seconds. A broken connection is no error here.

    Returns:
        whether nothing is left.
    """
    deadline = time.monotonic() + seconds
    dropped = 0
    try:
        while dropped <= limit and time.monotonic() < deadline:
            block = stream.read(64 * 1024)
            if not block:
                return True
            dropped += len(block)
    except Exception:  # see _read_block; the refusal is what has to be told
        return False
    return False


class _Cut(Exception):
    """The body ended before its time."""


def _read_block(stream: Stream) -> bytes:
    try:
        return stream.read(BLOCK)
    except Exception as error:  # every server has its own for cut-off and malformed bodies
        raise _Cut from error


def _boundary(content_type: str) -> str:
    kind, options = parse_options(content_type)
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary or len(boundary) > 200:
        raise NoFile("No file provided")
    return str(boundary)


def too_large(max_file: int) -> str:
    """The sentence for a file of more than `max_file` bytes."""
    return f"The file is larger than the {max_file // 1024 // 1024} MB that this host takes."
