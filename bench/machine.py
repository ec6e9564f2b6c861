"""What a run was made on: processor, system, versions, filesystem, and how busy it was."""

import os
import platform
import re
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench import disk
from bench.servers import COPYPARTY_PROGRAM, NGINX


def describe(folder: Path) -> dict[str, Any]:
    """The machine, as the results tell it; `folder` is where the servers keep their files."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*: (.*)$", cpu, re.MULTILINE)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": model[1] if model else platform.machine(),
        "sha_ni": " sha_ni" in cpu,
        "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "gunicorn": version("gunicorn"),
        "nginx": _said(NGINX, "-v", pattern=r"nginx/(\S+)"),
        "copyparty": _said(str(COPYPARTY_PROGRAM), "--version", pattern=r"copyparty v?(\d[\d.]*)"),
        "filesystem": filesystem(folder),
        "fsync_ms": fsync_ms(folder),
        "creation_ms": disk.creation_ms(folder),
        "load": os.getloadavg()[0],
    }


def filesystem(folder: Path) -> str:
    """The type of the filesystem that `folder` is on, such as ext4."""
    best, found = "", "unknown"
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, point, kind, *_ = line.split()
        if folder.is_relative_to(point) and len(point) >= len(best):
            best, found = point, kind
    return found


def fsync_ms(folder: Path) -> float:
    """The milliseconds that bringing 4 KB to this disk takes: the median of thirty."""
    taken = []
    path = folder / "fsync"
    with path.open("wb", buffering=0) as file:
        for _ in range(30):
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - begun)
    path.unlink()
    return round(median(taken) * 1000, 2)


def complaints(about: dict[str, Any]) -> list[str]:
    """What of the machine makes its figures worth less, one sentence each."""
    found = []
    if about["load"] > about["cores"] / 4:
        found.append(
            f"The machine was busy before it began (load {about['load']:.1f} on"
            f" {about['cores']} cores): these figures are worth little."
        )
    if about["filesystem"] in ("tmpfs", "ramfs", "overlay"):
        found.append(
            f"The files lay on {about['filesystem']}, where durability may cost nothing:"
            " name a folder on a disk with --folder."
        )
    if about["creation_ms"] > disk.REMEMBERS:
        found.append(
            f"Making a file of 100 KB took {about['creation_ms']} ms of processor time: the"
            " filesystem still remembers what was deleted in the last minutes, which slows the"
            " uploads of all servers."
        )
    return found


def _said(program: str | None, option: str, pattern: str) -> str | None:
    if program is None or not Path(program).exists():
        return None
    ran = subprocess.run([program, option], capture_output=True, text=True, check=False)
    match = re.search(pattern, ran.stdout + ran.stderr)
    return match[1] if match else "unknown"
