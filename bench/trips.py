"""What one upload asks of PostgreSQL and of S3: round trips, bytes and requests."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import accounts
import bucket
import config as configuration
import credentials
import items
import models
from bench.results import Results
from config import Config
from items import NewItem
from listing import Listing
from models import User
from storage import MIB, Storage
from storage_opening import open_storage
from storage_s3 import S3Storage
from tests.postgres import Cluster
from tests.servers.rclone import Rclone

PART, REQUESTS = "trips", "requests"
SIZES = (102_400, 8 * MIB, 8 * MIB + 1, 20 * MIB, 100 * MIB)
LISTING = Listing(
    rating="sfw", tags=("one", "two", "three"), is_oc=False, is_shitpost=False, comment=""
)


def turns(trace: str) -> int:
    """How often the server answered, in what libpq's PQtrace wrote: each line has the sender (F for
    us, B for the server) behind its time."""
    senders = [line.split("\t")[1] for line in trace.splitlines() if line.count("\t") > 1]
    return sum(one == "F" and other == "B" for one, other in pairwise(senders))


def _traced(work: Callable[[], object]) -> int:
    connection = models.database.obj.connection().pgconn
    with tempfile.TemporaryFile() as file:
        connection.trace(file.fileno())
        try:
            work()
        finally:
            connection.untrace()
        file.seek(0)
        return turns(file.read().decode(errors="replace"))


class _Way:
    """A user's uploads, from the token on, as a request makes them."""

    def __init__(self, config: Config, store: Storage) -> None:
        self.config, self.store = config, store
        secret = os.urandom(32)
        self.user: User = accounts.create_admin(secret, 4, "alice", "a password for benchmarks")
        self.token = accounts.upload_token(secret, self.user)
        assert credentials.TOKEN_PATTERN.fullmatch(self.token)
        self.name = ""

    def upload(self, size: int = 1000, listing: Listing | None = None) -> None:
        user_id = accounts.find_sender(self.token)
        assert user_id is not None
        items.require_rate(self.config.uploads.per_minute, user_id)
        with self.store.open("a.bin") as file:
            block = bytes(MIB)
            for start in range(0, size, MIB):
                file.write(block[: min(MIB, size - start)])
            new = NewItem(user_id=user_id, original_name="a.bin", listing=listing)
            self.name = items.create(self.config, self.store, new, file).name

    def delete(self) -> None:
        user = accounts.find_by_token(self.token)
        assert user is not None
        items.delete_own(self.store, user, self.name)


def measure(cluster: Cluster, rclone: Rclone | None, folder: Path, results: Results) -> None:
    """Round trips of uploads and deletes; requests to S3 of uploads by size."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.ini"
    url = cluster.create("trips")
    path.write_text(
        f"[database]\nurl = {url}\nstate = {folder}/kissa\n[storage]\ndirectory = {folder}/files\n",
        encoding="utf-8",
    )
    config = configuration.load(path, {})
    store = open_storage(config)
    store.check()
    models.open_database(url, before_commit=store.sync)
    try:
        models.migrate()
        way = _Way(config, store)
        works: dict[str, Callable[[], None]] = {
            "an upload": way.upload,
            "an upload to the gallery, three tags": lambda: way.upload(listing=LISTING),
            "a delete": way.delete,
        }
        for _ in range(8):  # what is prepared at first is prepared
            for work in works.values():
                work()
        for name, work in works.items():
            results.add(PART, name, "round trips", _traced(work))
        if rclone is not None:
            _requests(way, rclone, results)
    finally:
        models.close_database()
        store.close()


def _requests(way: _Way, rclone: Rclone, results: Results) -> None:
    given = {
        key.removeprefix("storage_"): value
        for key, value in rclone.bucket().configuration().items()
    }
    rules = replace(way.config.storage, **given)  # type: ignore[arg-type]
    store = S3Storage(replace(way.config, storage=rules))
    store.check()
    seen: Counter[str] = Counter()
    inner: bucket.Bucket = store._bucket
    inner._client.meta.events.register(
        "before-send.s3", lambda request, **_: seen.update([str(request.method)])
    )
    way.store = store
    for heeds, told in ((True, "If-None-Match"), (False, "without it")):
        store._known_habits = (heeds, True)  # as a server that heeds it; rclone does not
        for size in SIZES:
            seen.clear()
            way.upload(size)
            results.add(REQUESTS, f"{size} bytes", told, seen.total())
            way.delete()
    store.close()
