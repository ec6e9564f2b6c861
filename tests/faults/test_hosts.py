"""Three hosts, PostgreSQL and Ceph: hosts are killed, and each of the others restarted, under load.

Every acknowledged upload is there byte for byte, every acknowledged delete gone; errors are 502,
503 or cut connections, and nothing else. A rolling restart costs no request at all.
"""

import http.client
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.conftest import Person
from tests.faults.hosts import Hosts
from tests.faults.load import CLIENTS, Client, Load, Record
from tests.faults.support import choose
from tests.live.conftest import until
from tests.postgres import cluster
from tests.servers.s3 import S3Server

ALLOWED = {502, 503, 504}  # 504: nginx waited for a host that waited for who was restarted


class Persistent(Client):
    """One that goes on after every fault, on a new connection, and takes breath after each act:
    all that is stored is read again at the end."""

    def run(self) -> None:
        while not self.stopping.is_set():
            super().run()

    def upload(self, connection: http.client.HTTPConnection) -> str | None:
        name = super().upload(connection)
        self.stopping.wait(0.02)
        return name


class Pressing(Load):
    """Load that goes on whatever happens."""

    def __init__(self, port: int, person: Person, record: Record, *, seed: int = 0) -> None:
        self.record = record
        self.clients: list[Client] = [
            Persistent(port, person, record, 1000 * seed + number) for number in range(CLIENTS)
        ]


@pytest.fixture
def hosts(ceph: S3Server) -> Iterator[Hosts]:
    with (
        tempfile.TemporaryDirectory(prefix="kissa-hosts-") as name,
        cluster(synchronous_commit="on") as database,
    ):
        Path(name).chmod(0o755)
        hosts = Hosts(Path(name), database, ceph)
        try:
            yield hosts.start()
        finally:
            hosts.end()


def read(hosts: Hosts, names: list[str]) -> Iterator[tuple[str, int, bytes]]:
    """What each of these is answered with, by clients beside each other."""
    clients = threading.local()

    def get(name: str) -> tuple[str, int, bytes]:
        if not hasattr(clients, "session"):
            clients.session = requests.Session()
        answer = clients.session.get(f"http://127.0.0.1:{hosts.port}/f/{name}", timeout=30)
        return name, answer.status_code, answer.content

    with ThreadPoolExecutor(CLIENTS) as pool:
        yield from pool.map(get, names)


def require_kept(hosts: Hosts, record: Record) -> None:
    """Every acknowledged upload is there, every acknowledged delete gone, and nothing is left."""
    for name, status, content in read(hosts, [*record.kept, *record.uncertain]):
        if name in record.kept or status != 404:
            assert status == 200, name
            assert record.fits(name, content), name
    for name, status, _ in read(hosts, list(record.deleted)):
        assert status == 404, name
    odd = {status for status, _ in record.odd} - ALLOWED
    assert odd == set(), "".join(host.log[-3000:] for host in hosts.hosts if "error " in host.log)
    checked = hosts.hosts[0].flask("check")
    assert "wrong totals" not in checked.stdout, checked.stdout
    for host in hosts.hosts:
        host.require_quiet()


def test_nothing_acknowledged_is_lost(hosts: Hosts) -> None:
    person = hosts.hosts[0].person("alice")
    record, pause = Record(), threading.Event()
    with Pressing(hosts.port, person, record) as load:
        load.until(40)
        for turn in range(choose(4, 60)):  # one host a second
            host = hosts.hosts[turn % len(hosts.hosts)]
            host.kill()
            host.spawn()
            pause.wait(1)
        for host in hosts.hosts:
            until(host.is_healthy, "the host is back")
        load.until(40)
        pause.wait(2)
        before = len(record.odd)
        for host in hosts.hosts:  # a rolling restart, as docs/scaling.md has it
            assert host.stop() == 0
            host.start()
            pause.wait(2)
        load.until(20)
        told = (hosts.folder / "error.log").read_text()[-3000:]
        assert record.odd[before:] == [], f"a restart in order costs nobody anything\n{told}"
        hosts.database.stop(signal.SIGINT)
        pause.wait(0.5)
        hosts.database.start()
        load.until(40)
        hosts.database.stop(signal.SIGQUIT)  # a crash
        hosts.database.start()
        load.until(40)
        hosts.s3.stop()
        pause.wait(0.5)
        hosts.s3.start()
        load.until(40)
    print(f"\n{record.figures} refused={len(record.odd)}")
    assert record.acked > 200
    require_kept(hosts, record)
