"""The files in a bucket of an S3 server, which several hosts may share."""

import base64
import hashlib
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import BinaryIO
from urllib.parse import quote, urlsplit

import media
from bucket import Bucket, Fault, Taken, is_loopback, reading
from config import Config
from errors import Unavailable
from storage import (
    MIB,
    NAME_PATTERN,
    NO_THUMBNAIL,
    TEMPORARY_PATTERN,
    THUMBNAIL,
    THUMBNAIL_PATTERN,
    Incoming,
    Link,
    NewThumbnail,
    Partial,
    Room,
    Status,
    Storage,
    Where,
    extension_of,
    random_name,
)
from storage_s3_files import S3File, S3Incoming, S3NewThumbnail, S3Whole
from storage_s3_partial import S3Partial
from turns import Turn

ABANDONED = 24 * 3600  # seconds before an upload by parts counts as abandoned: it may last for long
PRESIGNED = 60  # seconds that an address for a reader is good to begin reading
_PRESIGNED_INNER = 12 * 3600  # for our nginx, which asks for slices as slowly as they are read
_ON_DISK = 256 * MIB  # bytes of a file that are brought here for another program, at most
_KEPT_BY_CACHES = "public, max-age=300"  # of the bucket's own address: a delete holds after that
_FOLDERS: dict[Where, str] = {
    "public": "files/",
    "pending": "pending/",
    "incoming": "incoming/",
    "resumable": "resumable/",
    "thumbnails": "thumbnails/",
}


class S3Storage(Storage):
    """Files as objects: `files/NAME` public, `pending/RANDOM` waiting, `thumbnails/KEY.webp`, each
    behind the configured prefix. Nothing has to be brought to disk: an object is there, and lasts,
    when its request is answered.

    Args:
        config: the configuration. No request is made before one is needed.
    """

    is_remote = True

    def __init__(self, config: Config) -> None:
        self._rules = config.storage
        self._name_length = config.uploads.name_length
        self._may_wait = config.gallery.manual_approval
        self._bucket = Bucket(config.storage, config.server.threads)
        self._abandoned: dict[str, tuple[str, float]] = {}
        self._known_habits: tuple[bool, bool] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        self._bucket.close()

    def check(self) -> list[str]:
        notes = []
        source, rules = "[storage]", self._rules
        try:
            self._bucket.require()
            keeps, has_ranges = self._habits()
        except (Fault, Unavailable) as error:
            told = str(error) if isinstance(error, Fault) else "the bucket cannot be written"
            raise Unavailable(f"{source} backend = s3: {told}") from error
        if not keeps:
            notes.append("the S3 server ignores If-None-Match: names are looked up before each put")
        if rules.presigned and not rules.public_url and not has_ranges:
            notes.append("the S3 server answers a range with 200: nginx gets the bytes from Kissa")
        if rules.endpoint.startswith("http:") and not is_loopback(rules.endpoint):
            notes.append("the S3 endpoint is http: files travel in the clear")
        return notes

    # Receiving and publishing

    def open(self, client_name: str = "") -> Incoming:
        name = random_name(self._name_length, extension_of(client_name))
        if self._may_wait:  # nobody knows yet whether it will
            key, likely = self._key(random_name(32), "pending"), ""
        else:
            key, likely = self._key(name, "public"), name
        headers = self._headers(name, is_public=bool(likely))
        return S3Incoming(self._bucket, key, likely, headers, self._only_new)

    def reserve_name(self) -> str:
        return random_name(32)

    def resume(self, name: str, interrupt: Callable[[], None] = lambda: None) -> Partial:
        prefix = self._key(f"{name}/", "resumable")
        return S3Partial(self._bucket, prefix, self.open, Turn(name, interrupt))

    def require_space(self, size: int = 0) -> None:
        pass  # nobody can say how much room a bucket has; a full one refuses

    def require_answer(self) -> None:
        self._bucket.ask("head_bucket")

    def room(self) -> Room | None:
        return None

    def publish(self, incoming: Incoming, name: str) -> bool:
        return self._place(incoming, self._key(name, "public"), self._headers(name))

    def hold(self, incoming: Incoming) -> str:
        assert isinstance(incoming, S3Incoming)
        folder = self._key("", "pending")
        if not incoming.is_small and incoming.key.startswith(folder):
            incoming.is_kept = True
            return incoming.key.removeprefix(folder)
        while True:
            name = random_name(32)
            headers = self._headers(incoming.likely_name, is_public=False)
            if self._place(incoming, folder + name, headers):
                return name

    def _place(self, incoming: Incoming, key: str, headers: dict[str, str]) -> bool:
        """Bring sealed bytes under their key. False when there is something already."""
        assert isinstance(incoming, S3Incoming)
        if not incoming.is_small and incoming.key == key and not incoming.is_kept:
            incoming.is_kept = True
            return True
        only_new = self._only_new()
        if not (incoming.is_small and only_new) and self._bucket.head(key) is not None:
            return False
        try:
            if incoming.is_small:
                self._bucket.put(key, incoming.content, headers, only_new=only_new)
            else:
                self._bucket.copy(incoming.key, key, headers)
        except Taken:
            return False
        except FileNotFoundError as error:
            raise Unavailable from error
        return True

    def release(self, pending_name: str, name: str) -> None:
        source = self._key(pending_name, "pending")
        self._bucket.copy(source, self._key(name, "public"), self._headers(name))

    def withdraw(self, name: str, pending_name: str) -> bool:
        if not self.exists(name):
            return False
        self._bucket.delete([self._key(name, "public")])
        return True

    def discard(self, name: str, *, where: Where) -> bool:
        if where == "incoming":
            key, _ = self._abandoned.pop(name, ("", 0.0))
            return bool(key) and self._bucket.abort(key, name)
        return bool(self.discard_all([(where, name)]))

    def discard_all(self, names: Iterable[tuple[Where, str]]) -> int:
        wanted = list(names)
        self._bucket.delete(key for where, name in wanted for key in self._keys(name, where))
        return len(wanted)

    def _keys(self, name: str, where: Where) -> Iterator[str]:
        """The keys that go together: a file's thumbnail goes with it, and of an upload in pieces
        all of them."""
        if where == "resumable":
            for found in self._bucket.list(self._key(f"{name}/", where)):
                yield self._key(f"{name}/{found}", where)
            return
        if where in ("public", "pending"):
            of = name if where == "public" else f"_{name}"
            for suffix in (THUMBNAIL, NO_THUMBNAIL):
                yield self._key(of + suffix, "thumbnails")
        yield self._key(name, where)

    def sync(self) -> None:
        pass

    # Reading

    def open_file(self, name: str) -> BinaryIO | None:
        return self._read(name, "public") if NAME_PATTERN.fullmatch(name) else None

    def open_pending(self, pending_name: str) -> BinaryIO | None:
        return self._read(pending_name, "pending")

    def open_thumbnail(self, key: str) -> BinaryIO | None:
        try:
            found = self._bucket.ask("get_object", Key=self._key(key + THUMBNAIL, "thumbnails"))
            with reading(), found["Body"] as body:
                return S3Whole(body.read(), found["LastModified"])
        except FileNotFoundError:
            return None

    def _read(self, name: str, where: Where) -> BinaryIO | None:
        key = self._key(name, where)
        found = self._bucket.head(key)
        if found is None:
            return None
        return S3File(self._bucket, key, Status(size=found[0], modified=found[1]))

    def status(self, file: BinaryIO) -> Status:
        assert isinstance(file, S3File | S3Whole)
        return file.status

    @contextmanager
    def on_disk(self, file: BinaryIO) -> Iterator[int]:
        with tempfile.TemporaryFile(dir=self._rules.directory) as here:
            left = _ON_DISK
            while left and (block := file.read(min(MIB, left))):
                here.write(block)
                left -= len(block)
            here.seek(0)
            yield here.fileno()

    def link(self, name: str, *, where: Where, headers: dict[str, str]) -> Link:
        rules, key = self._rules, self._key(name, where)
        is_attached = "Content-Disposition" in headers
        if rules.public_url and where == "public" and not is_attached:
            return Link(url=rules.public_url + quote(key))
        if not rules.presigned:
            return Link()
        more = {"ResponseContentType": headers["Content-Type"]}
        if is_attached:
            more["ResponseContentDisposition"] = headers["Content-Disposition"]
        if rules.public_url:
            caching = "no-cache" if where == "public" else "private, no-store"
            more["ResponseCacheControl"] = caching
            return Link(url=self._bucket.presigned(key, PRESIGNED, **more))
        if not self._habits()[1]:
            return Link()  # of a large file nginx would take the first slice for all of it
        address = urlsplit(self._bucket.presigned(key, _PRESIGNED_INNER))
        return Link(inner=f"/_s3{address.path}?{address.query}")

    def exists(self, name: str) -> bool:
        return self._bucket.head(self._key(name, "public")) is not None

    def new_thumbnail(self) -> NewThumbnail:
        return S3NewThumbnail(self._bucket, self._key("", "thumbnails"), self._rules.directory)

    # For a move

    def open_whole(self, name: str, *, where: Where) -> BinaryIO | None:
        key = self._key(name, where)
        try:
            found = self._bucket.ask("get_object", Key=key)
        except FileNotFoundError:
            return None
        status = Status(size=int(found["ContentLength"]), modified=found["LastModified"])
        if status.size > MIB:
            return S3File(self._bucket, key, status, found["Body"])
        with reading(), found["Body"] as body:
            return S3Whole(body.read(), status.modified)

    def bring(self, source: BinaryIO, name: str, *, where: Where) -> tuple[int, bytes]:
        key, headers = self._key(name, where), self._headers(name, is_public=where == "public")
        with S3Incoming(self._bucket, key, name, headers, self._only_new) as incoming:
            while block := source.read(MIB):
                incoming.write(block)
            if incoming.is_small:  # then the server sees to it that these are the bytes
                digest = hashlib.md5(incoming.content, usedforsecurity=False).digest()
                headers["ContentMD5"] = base64.b64encode(digest).decode()
                self._bucket.put(key, incoming.content, headers, only_new=False)
            else:
                incoming.seal()
                self._require_same(key, incoming)
                incoming.is_kept = True
            return incoming.size, incoming.sha256

    def _require_same(self, key: str, incoming: S3Incoming) -> None:
        with self._bucket.ask("get_object", Key=key)["Body"] as body, reading():
            kept = hashlib.sha256()
            while block := body.read(MIB):
                kept.update(block)
        if kept.digest() != incoming.sha256:
            raise Unavailable("The file store keeps other bytes than it was sent.")

    def list_sizes(self, *, where: Where) -> Iterator[tuple[str, int]]:
        pattern = NAME_PATTERN if where == "public" else TEMPORARY_PATTERN
        for name, size in self._bucket.list_sizes(self._key("", where)):
            if pattern.fullmatch(name):
                yield name, size

    # For the sweep

    def list_public(self) -> Iterator[str]:
        return self._list("public", NAME_PATTERN)

    def list_pending(self) -> Iterator[str]:
        return self._list("pending", TEMPORARY_PATTERN)

    def list_incoming(self) -> Iterator[str]:
        """The ids of uploads by parts that began more than 24 hours ago and have not ended; those
        that are not ours are passed over."""
        patterns: dict[Where, re.Pattern[str]] = {
            "public": NAME_PATTERN, "pending": TEMPORARY_PATTERN
        }  # fmt: skip
        ours = "|".join(
            re.escape(self._key("", at)) + f"(?:{p.pattern})" for at, p in patterns.items()
        )
        for key, upload, began in self._bucket.list_uploads(self._rules.prefix):
            moment = began.timestamp()
            if re.fullmatch(ours, key, re.ASCII) and moment <= time.time() - ABANDONED:
                self._abandoned[upload] = key, moment
                yield upload

    def list_resumable(self) -> Iterator[str]:
        found = self._bucket.list(self._key("", "resumable"))
        names = (name for name, _ in groupby(found, lambda one: one.partition("/")[0]))
        return (name for name in names if TEMPORARY_PATTERN.fullmatch(name))

    def list_thumbnails(self) -> Iterator[str]:
        return self._list("thumbnails", THUMBNAIL_PATTERN)

    def changed(self, name: str, *, where: Where) -> float | None:
        if where == "incoming":
            return self._abandoned[name][1] if name in self._abandoned else None
        keys = self._keys(name, where) if where == "resumable" else (self._key(name, where),)
        found = (self._bucket.head(key) for key in keys)
        return next((one[1].timestamp() for one in found if one is not None), None)

    def _list(self, where: Where, pattern: re.Pattern[str]) -> Iterator[str]:
        names = self._bucket.list(self._key("", where))
        return (name for name in names if pattern.fullmatch(name))

    def _key(self, name: str, where: Where) -> str:
        return f"{self._rules.prefix}{_FOLDERS[where]}{name}"

    def _headers(self, name: str, *, is_public: bool = True) -> dict[str, str]:
        """What an object is served with where browsers ask the bucket itself."""
        kind = media.media_type(name)
        headers = {
            "ContentType": kind,
            "CacheControl": _KEPT_BY_CACHES if is_public else "private, no-store",
        }
        # Without our Content-Security-Policy a drawing could run scripts there.
        if self._rules.public_url and kind in (media.OCTETS, "image/svg+xml"):
            headers["ContentDisposition"] = "attachment"
        return headers

    def _only_new(self) -> bool:
        """Whether the server heeds If-None-Match."""
        return self._habits()[0]

    def _habits(self) -> tuple[bool, bool]:
        """Whether the server heeds If-None-Match, and answers a range with 206; tried once."""
        with self._lock:
            if self._known_habits is None:
                key = self._key(random_name(32), "incoming")
                headers = {"ContentType": media.OCTETS}
                self._bucket.put(key, b"kissa", headers, only_new=False)
                keeps_old = False
                try:
                    self._bucket.put(key, b"kissa", headers, only_new=True)
                except Taken:
                    keeps_old = True
                try:
                    part = self._bucket.ask("get_object", Key=key, Range="bytes=0-1")
                    part["Body"].close()
                    status = part["ResponseMetadata"]["HTTPStatusCode"]
                finally:
                    self._bucket.delete([key])
                self._known_habits = keeps_old, status == 206
            return self._known_habits
