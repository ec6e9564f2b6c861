"""Runs the benchmarks: `python -m bench.run [uploads] [large] [memory] [slow-disk] [reads]`."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from bench import machine, memory, reads, report, slow_disk, uploads
from bench.disk import REMEMBERS, creation_ms, make_spread
from bench.plan import Plan, say
from bench.results import Results
from bench.servers import ROOT, Failed

PARTS: dict[str, Callable[[Plan, Results], None]] = {
    "uploads": uploads.small,
    "large": uploads.large,
    "memory": memory.measure,
    "slow-disk": slow_disk.measure,
    "reads": reads.measure,
}
SHORT = ROOT / "bench/results/short.json"
LONG = ROOT / "bench/results/long.json"
FORGETS = 7 * 60  # seconds
SPACE = 30  # GB that a run may need for a while, nearly all of it the uploads of one point


def main() -> int:
    """Run what the command line asks for. Returns the exit code."""
    given = _arguments()
    signal.signal(signal.SIGTERM, _stop)
    begun = time.monotonic()
    made = Path(tempfile.mkdtemp(prefix="kissa-bench-", dir=given.folder))
    folder = make_spread(made / "run")
    try:
        plan = Plan(
            rounds=given.rounds,
            seconds=given.seconds,
            clients=given.clients,
            large_mb=given.large_mb,
            many_mb=given.many_mb,
            rows=given.rows,
            folder=folder,
        )
        if given.long:
            _wait_for_disk(folder)
        results = Results(_about(plan, "long" if given.long else "short"))
        for complaint in machine.complaints(results.about):
            say(complaint)
            results.note(complaint)
        if (plan.large_mb, plan.many_mb) != (1024, 200):
            results.note(
                f"The large uploads were of {plan.large_mb} and {plan.many_mb} MB, and not of the"
                " 1 GB and 200 MB that the targets speak of."
            )
        if shutil.disk_usage(folder).free < SPACE * 1024**3:
            say(f"less than {SPACE} GB are free in {given.folder}: the disk may become full")
        failed = False
        for name in given.parts or PARTS:
            try:
                PARTS[name](plan, results)
            except Failed as error:
                failed = True
                results.note(f"{name} broke off.")
                say(f"{name} broke off: {error}")
        results.about["minutes"] = round((time.monotonic() - begun) / 60, 1)
        results.save(given.out)
        print(report.markdown(results))
        say(f"{results.about['minutes']} minutes; the figures are in {given.out}")
        if given.docs:
            report.write_docs(results)
        return 1 if failed else 0
    except KeyboardInterrupt:
        say("broken off")
        return 130
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    names = ", ".join(PARTS)
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART", help=f"{names}; all")
    parser.add_argument("--long", action="store_true", help="five rounds, and 5 million rows")
    parser.add_argument("--docs", action="store_true", help="draw docs/performance.md anew")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--seconds", type=int, help="how long each point of 100 KB uploads lasts")
    parser.add_argument("--clients", type=_numbers, default=[1, 8, 16, 32], help="as 1,8,16,32")
    parser.add_argument("--large-mb", type=int, default=1024, help="size of the one large upload")
    parser.add_argument("--many-mb", type=int, default=200, help="size of each of ten at once")
    parser.add_argument("--rows", type=_numbers, help="sizes of the databases, as 1000,1000000")
    parser.add_argument("--folder", default="/var/tmp", help="where the servers keep their files")
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    given = parser.parse_args()
    if given.docs and given.parts:
        parser.error("--docs tells of all parts: run them all")
    given.rounds = given.rounds or (5 if given.long else 1)
    given.seconds = given.seconds or (4 if given.long else 2)
    given.rows = given.rows or ([1000, 1_000_000] + ([5_000_000] if given.long else []))
    given.out = given.out or (LONG if given.long else SHORT)
    return given


def _part(text: str) -> str:
    if text not in PARTS:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(PARTS)}")
    return text


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _about(plan: Plan, mode: str) -> dict[str, object]:
    return machine.describe(plan.folder) | {
        "mode": mode,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "large_mb": plan.large_mb,
        "many_mb": plan.many_mb,
    }


def _wait_for_disk(folder: Path) -> None:
    """Give the filesystem time to forget what was deleted, by an earlier run for one."""
    deadline = time.monotonic() + FORGETS
    while creation_ms(folder) > REMEMBERS and time.monotonic() < deadline:
        say("waiting until the filesystem has forgotten earlier deletes, at most seven minutes")
        time.sleep(30)


def _stop(number: int, frame: FrameType | None) -> None:
    """End as at Ctrl-C, with every server."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
