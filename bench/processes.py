"""What Linux tells of running processes: their children, processor time and memory."""

import os
import re
from pathlib import Path

KIB = 1024


def descendants(pid: int) -> list[int]:
    """The process and all that it started, as far as they live."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(found for child in children for found in descendants(int(child)))]


def cpu_seconds(pids: list[int]) -> float:
    """The processor time that these processes have used."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pid: int, field: str) -> int:
    """Bytes: VmRSS (resident), VmHWM (its peak), or Pss (resident, what is shared by its share)."""
    file = "smaps_rollup" if field == "Pss" else "status"
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * KIB if found else 0


def reset_peak(pid: int) -> None:
    """Let VmHWM begin anew: see proc(5), clear_refs."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
