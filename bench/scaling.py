"""Measures what docs/scaling.md tells: `python -m bench.scaling [PART ...]`.

The databases stay in the folder that --keep names, so that the rows need be made only once.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench import commits, hosts, machine, partitions, row_times, scaling_report, trips
from bench.disk import make_spread
from bench.plan import say
from bench.results import Results
from bench.servers import ROOT, Failed
from tests.postgres import Cluster, find_programs
from tests.servers.rclone import Rclone

OUT = ROOT / "bench/results/scaling.json"
SPACE = 16  # GB for ten million rows, two million of them in partitions too, and uploads
# As a server of one's own has them, but for its memory, and without a standby's needs.
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "1GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings of one run: `sizes` and `parted` are rows, `seconds` those of each point."""

    sizes: list[int]
    parted: int
    rounds: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run works: its cluster, an S3 server if there is one, and a folder."""

    cluster: Cluster
    rclone: Rclone | None
    folder: Path


PARTS: dict[str, Callable[[Place, Plan, Results], None]] = {
    "rows": lambda on, plan, r: row_times.measure(on.cluster, on.folder / "rows", plan.sizes, r),
    "trips": lambda on, plan, r: trips.measure(on.cluster, on.rclone, on.folder / "trips", r),
    "hosts": lambda on, plan, r: hosts.measure(
        on.cluster, on.rclone, on.folder / "hosts", plan.rounds, plan.seconds, r
    ),
    "commits": lambda on, plan, r: commits.measure(
        on.cluster, on.folder / "commits", plan.rounds, plan.seconds, r
    ),
    "partitions": lambda on, plan, r: partitions.measure(
        on.cluster, on.folder / "parted", plan.parted, r
    ),
}


def main() -> int:
    """Run what the command line asks for. Returns the exit code."""
    given = _arguments()
    if find_programs() is None:
        say("PostgreSQL is not installed: apt-get install postgresql")
        return 2
    plan = Plan(sizes=given.rows, parted=given.parted, rounds=given.rounds, seconds=given.seconds)
    folder = Path(tempfile.mkdtemp(prefix="kissa-scaling-", dir=given.folder))
    folder.chmod(0o711)  # PostgreSQL runs as somebody else
    if shutil.disk_usage(folder).free < SPACE * 1024**3:
        say(f"less than {SPACE} GB are free in {given.folder}: the disk may become full")
    place = None
    try:
        cluster = _cluster(given.keep or folder / "postgresql")
        place = Place(cluster=cluster, rclone=_rclone(folder), folder=make_spread(folder / "run"))
        results = Results(_about(place, plan))
        for complaint in machine.complaints(results.about):
            results.note(complaint)
        failed = False
        for name in given.parts or PARTS:
            (place.folder / name).mkdir(exist_ok=True)
            say(f"{name}, of {', '.join(given.parts or PARTS)}")
            try:
                PARTS[name](place, plan, results)
            except Failed as error:
                failed = True
                results.note(f"{name} broke off.")
                say(f"{name} broke off: {error}")
        results.save(given.out)
        print(scaling_report.markdown(results))
        if given.docs:
            scaling_report.write_docs(results)
        return 1 if failed else 0
    except KeyboardInterrupt:
        return 130
    finally:
        if place is not None:
            if place.rclone is not None:
                place.rclone.end()
            place.cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-scaling ARGS=...", description=__doc__)
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--docs", action="store_true", help="write docs/scaling.md anew")
    parser.add_argument("--rows", type=_numbers, default=[10_000, 10_000_000], help="two sizes")
    parser.add_argument("--parted", type=int, default=2_000_000, help="rows that are partitioned")
    parser.add_argument("--rounds", type=int, default=3, help="of uploads")
    parser.add_argument("--seconds", type=int, default=3, help="of each point of uploads")
    parser.add_argument("--folder", default="/var/tmp", help="where all files go")
    parser.add_argument("--keep", type=Path, help="a folder for the databases, which stay")
    parser.add_argument("--out", type=Path, default=OUT, help="where the figures go, as JSON")
    given = parser.parse_args()
    if given.docs and given.parts:
        parser.error("--docs tells of all parts: run them all")
    return given


def _part(text: str) -> str:
    if text not in PARTS:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(PARTS)}")
    return text


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _cluster(folder: Path) -> Cluster:
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder, **SETTINGS)
    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        for name in ("hosts0", "hosts1", "commits", "trips"):  # of an earlier run
            connection.execute(f'drop database if exists "{name}"'.encode())
    return cluster


def _rclone(folder: Path) -> Rclone | None:
    if not (Path(sys.executable).parent / "rclone").exists():
        return None
    (folder / "s3").mkdir()
    server = Rclone(folder / "s3")
    server.begin()
    return server


def _about(place: Place, plan: Plan) -> dict[str, object]:
    return machine.describe(place.folder) | {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "postgresql": _version(place.cluster),
        "sizes": plan.sizes,
        "parted": plan.parted,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
    }


def _version(cluster: Cluster) -> str:
    with psycopg.connect(cluster.url()) as connection:
        number = connection.info.server_version
    return f"{number // 10000}.{number % 10000}"


if __name__ == "__main__":
    sys.exit(main())
