"""The load generator: wrk, with one thread and a Lua script of ours."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.servers import PATIENCE, Failed

WRK = shutil.which("wrk")
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What came of a run of wrk.

    Args:
        rate: answers a second.
        p50, p99: milliseconds within which half, and 99 of 100, of the answers came.
        answers: how many there were.
        faults: answers of 400 and above, failed connections, and timeouts.
    """

    rate: float
    p50: float
    p99: float
    answers: int
    faults: int


def run(
    script: str,
    url: str,
    *,
    clients: int,
    seconds: int,
    environ: dict[str, str],
    headers: dict[str, str] | None = None,
    threads: int = 1,
) -> Answers:
    """Ask `url` for `seconds`, over `clients` connections that are kept, each anew once answered.

    Args:
        threads: of wrk; up.lua gives each of them a token of its own.

    Raises:
        Failed: wrk did not run, or got no answer.
    """
    assert WRK is not None, "there is no wrk"
    options = [
        f"-c{clients}",
        f"-d{seconds}s",
        f"-t{threads}",
        "--timeout",
        "30s",
        "-s",
        str(HERE / script),
    ]
    for name, value in (headers or {}).items():
        options += ["-H", f"{name}: {value}"]
    done = {"DONE": str(HERE / "done.lua")}
    ran = subprocess.run(
        [WRK, *options, url],
        env=dict(os.environ) | environ | done,
        capture_output=True,
        text=True,
        timeout=seconds + 2 * PATIENCE,
        check=False,
    )
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    if ran.returncode or not lines:
        raise Failed(f"wrk {url}: {ran.stdout}{ran.stderr}")
    found = Answers(**json.loads(lines[-1]))
    if not found.answers:
        raise Failed(f"wrk {url}: no answer in {seconds} s")
    return found
