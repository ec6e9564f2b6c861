"""Uploads with one, two and three Kissa servers beside each other on one PostgreSQL."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from bench import wrk
from bench.disk import put_aside
from bench.plan import in_turn, say
from bench.processes import cpu_seconds, descendants
from bench.results import Results
from bench.servers import Failed, Kissa, Server
from bench.uploads import all_running
from tests.postgres import Cluster
from tests.servers.rclone import Rclone

PART = "hosts"
CONNECTIONS = 8  # at once, spread over the hosts
USERS = (1, 8)
FILES = "SQLite and a folder", "PostgreSQL and a folder", "PostgreSQL and S3"
SQLITE, FOLDER, S3 = FILES


@dataclass(slots=True, kw_only=True)
class Group:
    """Hosts that share one database and one place for files.

    Args:
        url: of the database; empty for each host's own SQLite file.
        below: the ids of what works for them, by its name.
    """

    name: str
    hosts: list[Kissa]
    files: Path
    url: str = ""
    below: dict[str, int] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)

    def sign_up(self) -> None:
        """Make the users."""
        self.tokens = [self.hosts[0].sign_up(f"user{number}") for number in range(max(USERS))]
        for one in self.hosts:
            one.token = self.tokens[0]

    def stored(self) -> int:
        """How many uploads there are."""
        if not self.url:
            return self.hosts[0].stored()[0]
        with psycopg.connect(self.url) as connection:
            found = connection.execute("select count(*) from item").fetchone()
        assert found is not None
        return int(found[0])

    def cpu(self) -> dict[str, float]:
        """The processor seconds so far, by who used them."""
        of_hosts = cpu_seconds([pid for host in self.hosts for pid in host.pids()])
        found = {name: cpu_seconds(descendants(pid)) for name, pid in self.below.items()}
        return found | {"Kissa": of_hosts}


def host(name: str, folder: Path, secret: bytes, more: dict[str, dict[str, object]]) -> Kissa:
    """A server, not yet running, that knows the same secret as the others."""
    made = Kissa(name, folder, more=more)
    with open(os.open(folder / "kissa.secret", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(secret)
    return made


def groups(cluster: Cluster, rclone: Rclone | None, folder: Path, most: int) -> list[Group]:
    """SQLite alone; PostgreSQL with a folder that all hosts share; PostgreSQL with a bucket."""
    alone = host("alone", folder / "alone", os.urandom(32), {})
    found = [Group(name=SQLITE, hosts=[alone], files=alone.files)]
    places: dict[str, dict[str, object]] = {FOLDER: {}}
    if rclone is not None:
        bucket = rclone.bucket().configuration()
        places[S3] = {key.removeprefix("storage_"): value for key, value in bucket.items()}
    for number, (name, storage) in enumerate(places.items()):
        url = cluster.create(f"hosts{number}")
        secret, some = os.urandom(32), []
        for place in range(most):
            own = folder / f"group{number}-{place}"
            more: dict[str, dict[str, object]] = {
                "database": {"url": url, "state": own / "kissa"},
                "storage": storage | {"directory": folder / f"group{number}-0/files"},
            }
            some.append(host(f"{name}, host {place + 1}", own, secret, more))
        group = Group(name=name, hosts=some, files=some[0].files, url=url)
        group.below["PostgreSQL"] = cluster.pid
        if name == S3 and rclone is not None and rclone.process is not None:
            group.below["S3"] = rclone.process.pid
        found.append(group)
    return found


@contextmanager
def running(some: Sequence[Group]) -> Iterator[None]:
    """All their servers, with their users."""
    servers: list[Server] = [one for group in some for one in group.hosts]
    with all_running(servers):
        for group in some:
            group.sign_up()
        yield


def point(group: Group, number: int, users: int, seconds: int) -> tuple[float, int]:
    """Uploads of 100 KB to `number` of the hosts by so many users, over CONNECTIONS in all.

    Returns:
        uploads a second, and how many there were.

    Raises:
        Failed: one was refused, or more were answered than stored.
    """
    before = group.stored()
    shares: list[list[str]] = [[] for _ in range(number)]
    for place in range(CONNECTIONS):
        shares[place % number].append(group.tokens[place % users])
    found: list[wrk.Answers] = []

    def load(one: Kissa, tokens: list[str]) -> None:
        way = one.way
        environ = way.environ | {"TOKEN": ",".join(tokens)}
        many = len(tokens)
        found.append(
            wrk.run("up.lua", way.url, clients=many, threads=many, seconds=seconds, environ=environ)
        )

    threads = [
        threading.Thread(target=load, args=pair) for pair in zip(group.hosts, shares, strict=False)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for server in group.hosts:
        server.settle()
    answered, faults = sum(one.answers for one in found), sum(one.faults for one in found)
    if len(found) < number or faults:
        raise Failed(f"{group.name}: {faults} uploads failed")
    if group.stored() - before < answered:
        raise Failed(f"{group.name}: {answered} uploads answered, fewer stored")
    return sum(one.rate for one in found), answered


def measure(
    cluster: Cluster, rclone: Rclone | None, folder: Path, rounds: int, seconds: int, r: Results
) -> None:
    """Every number of hosts and of users, all groups in turn in each round."""
    most = 3
    some = groups(cluster, rclone, folder, most)
    if rclone is None:
        r.note("There was no rclone: uploads to S3 were not measured.")
    with running(some):
        for group in some:
            point(group, len(group.hosts), max(USERS), 1)  # what is made at first use is made
        for turn in range(rounds):
            for users in USERS:
                for number in range(1, most + 1):
                    for group in in_turn(some, turn):
                        if number > len(group.hosts):
                            continue
                        say(f"hosts: round {turn + 1}, {group.name}: {number}, {users} users")
                        _add(group, number, users, seconds, r)


def _add(group: Group, number: int, users: int, seconds: int, results: Results) -> None:
    before = group.cpu()
    rate, answered = point(group, number, users, seconds)
    subject = f"{group.name}, {number} server{'s' if number > 1 else ''}"
    results.add(PART, subject, f"rate {users}", rate)
    for name, seconds_used in group.cpu().items():
        used = (seconds_used - before[name]) / answered * 1000
        results.add(PART, subject, f"cpu {name} {users}", round(used, 3))
    with os.scandir(group.files) as entries:
        files = [one.path for one in entries if one.is_file() and not one.name.startswith(".")]
    put_aside(files, group.files.parent / f"aside/{os.urandom(4).hex()}")
