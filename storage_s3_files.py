"""One file of a bucket: being received, being read, being made."""

import hashlib
import io
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import bucket
from bucket import Bucket, Taken
from errors import Busy, Unavailable
from storage import MIB, Incoming, NewThumbnail, Status

PART = 8 * MIB  # all but the last have this size, which R2 asks for; at most 10,000 of them
_WINDOW = MIB  # bytes read at once of a large file that is looked into before it is published
_BUFFER = 256 * 1024
_OLD = 1800  # seconds; on some servers an upload by parts is dated by its beginning
_ATTEMPTS = 3  # of reading on where a connection broke


class S3Incoming(Incoming):
    """A file being received: up to one part of it in memory. One that is not longer is stored in
    one request, when its name is known; a longer one is an upload by parts, which nobody sees
    before its end, under the key that it will most likely have.

    Args:
        where: the bucket.
        key: that key.
        likely_name: the public name that this is, if it is one.
        headers: those of the object, by boto3's names.
        only_new: whether the server keeps an object from taking another's place.
    """

    def __init__(
        self,
        where: Bucket,
        key: str,
        likely_name: str,
        headers: dict[str, str],
        only_new: Callable[[], bool],
    ) -> None:
        self._bucket = where
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._upload = ""
        self._tags: list[str] = []
        self._window = (0, b"")
        self._headers = headers
        self._only_new = only_new
        self._began = time.monotonic()
        self.key = key
        self.likely_name = likely_name
        self.size = 0
        self.is_whole = False  # whether an upload by parts has ended, and lies under its key
        self.is_kept = False  # whether what lies there stays

    @property
    def is_small(self) -> bool:
        """Whether all of it is in memory."""
        return not self._upload

    @property
    def looks_old(self) -> bool:  # type: ignore[override]
        """See `Incoming`."""
        return not self.is_small and time.monotonic() > self._began + _OLD

    @property
    def content(self) -> bytearray:
        """All of a small one."""
        return self._buffer

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        view = memoryview(data)
        while view:
            if len(self._buffer) == PART:
                self._send_part()
            room = PART - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]
        self.size += len(data)

    def _send_part(self) -> None:
        if not self._upload:
            answer = self._bucket.ask("create_multipart_upload", Key=self.key, **self._headers)
            self._upload = answer["UploadId"]
        number = len(self._tags) + 1
        done = self._ask("upload_part", PartNumber=number, Body=self._buffer)
        self._tags.append(done["ETag"])
        self._buffer.clear()

    def _ask(self, operation: str, **named: Any) -> Any:
        try:
            return self._bucket.ask(operation, Key=self.key, UploadId=self._upload, **named)
        except FileNotFoundError as error:  # somebody aborted it
            raise Unavailable from error

    @property
    def sha256(self) -> bytes:
        return self._hash.digest()

    def seal(self) -> None:
        if self.is_small or self.is_whole:
            return
        self._send_part()
        if self._bucket.head(self.key) is not None:
            raise Busy("The name of this file is taken; try again.", retry_after=1)
        numbered = enumerate(self._tags, 1)
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in numbered]
        more = {"IfNoneMatch": "*"} if self._only_new() else {}
        try:
            self._ask("complete_multipart_upload", MultipartUpload={"Parts": parts}, **more)
        except Taken as error:
            raise Busy("The name of this file is taken; try again.", retry_after=1) from error
        except Unavailable:
            # The answer may have been lost, and the second try have found it done.
            found = self._bucket.head(self.key)
            if found is None or found[0] != self.size:
                raise
        self.is_whole = True

    def read_at(self, length: int, offset: int) -> bytes:
        self.seal()
        if self.is_small:
            return bytes(self._buffer[offset : offset + length])
        found = b""
        while len(found) < min(length, self.size - offset):
            found += self._read_window(offset + len(found))[: length - len(found)]
        return found

    def _read_window(self, offset: int) -> bytes:
        """What there is from `offset` to the end of the part of the file that is kept here."""
        start, kept = self._window
        if not start <= offset < start + len(kept):
            start = offset - offset % _WINDOW
            span = f"bytes={start}-{min(start + _WINDOW, self.size) - 1}"
            answer = self._bucket.ask("get_object", Key=self.key, Range=span)
            with bucket.reading(), answer["Body"] as body:
                kept = body.read()
            self._window = start, kept
        return kept[offset - start :]

    def close(self) -> None:
        self._buffer = bytearray()
        self._window = (0, b"")
        upload, self._upload = self._upload, ""
        if not upload or self.is_kept:
            return
        if not self.is_whole:
            self._bucket.abort(self.key, upload)
            return
        with suppress(Unavailable):  # the sweep finds it
            self._bucket.delete([self.key])


class S3File(io.BufferedReader):
    """An object open for reading: asked for from where it is read, and again after a seek; `body`
    is an answer that begins at its beginning."""

    def __init__(self, where: Bucket, key: str, status: Status, body: Any = None) -> None:
        super().__init__(_Stream(where, key, status.size, body), _BUFFER)
        self.status = status


class _Stream(io.RawIOBase):
    def __init__(self, where: Bucket, key: str, size: int, body: Any) -> None:
        self._bucket = where
        self._key = key
        self._size = size
        self._place = 0
        self._body = body

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset != self._place:
            self._drop()
            self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, into: Any) -> int:
        if self._place >= self._size:
            return 0
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                data = self._read(len(into))
                break
            except Unavailable:  # a connection that broke on the way
                self._drop()
                if attempt == _ATTEMPTS:
                    raise
        into[: len(data)] = data
        self._place += len(data)
        return len(data)

    def _read(self, size: int) -> bytes:
        with bucket.reading():
            if self._body is None:
                named = {"Range": f"bytes={self._place}-"} if self._place else {}
                answer = self._bucket.ask("get_object", Key=self._key, **named)
                self._body = answer["Body"]
                if answer["ContentLength"] != self._size - self._place:
                    raise Unavailable  # not these bytes
            data: bytes = self._body.read(size)
        if not data:
            raise Unavailable  # it ended before its end
        return data

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def close(self) -> None:
        self._drop()
        super().close()


class S3Whole(io.BytesIO):
    """A small object, read whole."""

    def __init__(self, data: bytes, modified: datetime) -> None:
        super().__init__(data)
        self.status = Status(size=len(data), modified=modified)


class S3NewThumbnail(NewThumbnail):
    """A thumbnail being made in a file without a name on this machine.

    Args:
        where: the bucket.
        prefix: what the keys of thumbnails begin with.
        folder: of passing files.
    """

    def __init__(self, where: Bucket, prefix: str, folder: Path) -> None:
        self._bucket = where
        self._prefix = prefix
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 -- closed by `close`
        self.fd = self._file.fileno()

    def seal(self, *, is_made: bool) -> None:
        if not is_made:
            self._file.truncate(0)

    def publish(self, name: str) -> None:
        self._file.seek(0)
        headers = {"ContentType": "image/webp", "CacheControl": "private, no-store"}
        self._bucket.put(f"{self._prefix}{name}", self._file.read(), headers, only_new=False)

    def close(self) -> None:
        self._file.close()
