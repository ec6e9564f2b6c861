"""What the server counts for Prometheus, and the figures of the moment when it is asked."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
import openapi
from config import Config

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the client library reads it when it is imported
_PREFIX = "kissa-metrics-"
# Everything that becomes a label is one of a few words: each new one is a series for ever.
APIS = ("nekos", "f0ckm", "web")
_METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
_SECONDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10, 60)
# Each kind of refusal has a status of its own; a kind of a kind counts as the latter.
REASONS = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    410: "gone",
    412: "wrong_version",
    413: "too_large",
    415: "blocked",
    423: "locked",
    429: "too_many",
    451: "taken_down",
    460: "wrong_checksum",
    500: "fault",
    503: "busy",
    507: "no_space",
}  # anything else is "other"


def share(workers: int) -> None:
    """Before several workers are forked: make the folder in which their counts add up.

    In memory where there is some: a page of it that a full disk has no room for would kill the
    worker that counts.
    """
    os.environ.pop(_FOLDER, None)
    if workers == 1:
        return
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):  # by a server that was killed
        with suppress(OSError):
            _lock(left, fcntl.LOCK_EX)
            shutil.rmtree(left)
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    _lock(Path(os.environ[_FOLDER]), fcntl.LOCK_SH)


def _lock(folder: Path, kind: int) -> None:
    """Lock a folder until this process and all that it forks are gone.

    Raises:
        OSError: it is in use, or not ours.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise


def end_worker(pid: int) -> None:
    """After a worker has ended. Its counts stay."""
    if _FOLDER in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(pid)


def end_sharing() -> None:
    """After the last worker: remove the folder."""
    folder = os.environ.pop(_FOLDER, None)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The host at this moment; `disk_free` is bytes, and lacks what is not on a
    disk here or does not answer."""

    files: int
    users: int
    disk_free: dict[str, int]


def look(config: Config) -> State:
    """The state of the host, in a time that does not depend on the number of its files."""
    places = {}
    if config.storage.backend == "local":
        places["storage"] = config.storage.directory
    if config.database.is_file:
        places["database"] = config.database.path.parent
    free = {}
    for what, path in places.items():
        try:
            status = os.statvfs(path)
        except OSError:
            continue
        free[what] = status.f_bavail * status.f_frsize
    return State(
        files=models.total("files"),
        users=models.User.select().count(),
        disk_free=free,
    )


class Metrics:
    """The counts of one process, or of all workers where they share them."""

    def __init__(self) -> None:
        # Here and not above: commands need none of it, and `share` must come before it.
        import prometheus_client as client
        from prometheus_client.multiprocess import MultiProcessCollector

        client.disable_created_metrics()
        registry = client.CollectorRegistry()
        folder = os.environ.get(_FOLDER)
        self._counted: Any = MultiProcessCollector(None, folder) if folder else registry
        self._uploads = client.Counter(
            "kissa_uploads_total", "Uploads that were stored.", ["api"], registry=registry
        )
        self._bytes = client.Counter(
            "kissa_upload_bytes_total", "Bytes of stored uploads.", ["api"], registry=registry
        )
        self._refusals = client.Counter(
            "kissa_refusals_total",
            "Requests that were not done as asked.",
            ["api", "reason"],
            registry=registry,
        )
        self._seconds = client.Histogram(
            "kissa_request_seconds",
            "From the end of a request's headers to the beginning of its answer.",
            ["api", "method", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        for api in ("nekos", "f0ckm"):  # from 0 on, or the first upload is no increase
            self._uploads.labels(api)
            self._bytes.labels(api)

    def count_upload(self, api: str, size: int) -> None:
        """An upload of `size` bytes was stored."""
        self._uploads.labels(api).inc()
        self._bytes.labels(api).inc(size)

    def count_request(self, api: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        method = method if method in _METHODS else "other"
        self._seconds.labels(api, method, f"{status // 100}xx").observe(seconds)
        if status >= 400:
            self._refusals.labels(api, REASONS.get(status, "other")).inc()

    def render(self, state: State) -> bytes:
        """All of it in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(_Scrape(self._counted, state))


class _Scrape:
    """What was counted, and `state`, as the client library wants to collect it."""

    def __init__(self, counted: Any, state: State) -> None:
        self._counted = counted
        self._state = state

    def collect(self) -> Iterator[Any]:
        """Every metric once."""
        yield from self._counted.collect()
        yield from _gauges(self._state)


def _gauges(state: State) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

    free = GaugeMetricFamily(
        "kissa_disk_free_bytes", "Bytes free for the files, and for the database.", labels=["what"]
    )
    for what, size in state.disk_free.items():
        free.add_metric([what], size)
    return (
        free,
        GaugeMetricFamily("kissa_files", "Stored files, without waiting ones.", state.files),
        GaugeMetricFamily("kissa_users", "Accounts.", state.users),
        InfoMetricFamily("kissa_build", "This Kissa.", {"version": openapi.VERSION}),
    )
