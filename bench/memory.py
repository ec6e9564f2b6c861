"""Memory of a server that runs alone, at rest and during large uploads; and how fast it starts."""

import threading
from types import TracebackType
from typing import Self

from bench.plan import Plan, in_turn, say
from bench.processes import memory, reset_peak
from bench.results import Results
from bench.servers import Server
from bench.uploads import AT_ONCE, CURL, MIB, make_file, send, servers

EVERY = 0.05  # seconds between two looks at the PSS, of which Linux keeps no peak


class Watch:
    """The memory of all processes of a server while something happens, in MB of 1,048,576 bytes.

    RSS is each process's own peak, added up; PSS the largest sum that was seen.
    """

    def __init__(self, server: Server) -> None:
        self.pids = server.pids()
        self.rss_before = self._sum("VmRSS")
        self.pss_peak = self.rss_peak = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _sum(self, field: str) -> float:
        return sum(memory(pid, field) for pid in self.pids) / MIB

    def _look(self) -> None:
        while not self._done.wait(EVERY):
            self.pss_peak = max(self.pss_peak, self._sum("Pss"))

    def __enter__(self) -> Self:
        for pid in self.pids:
            reset_peak(pid)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        self.rss_peak = self._sum("VmHWM")
        self.pss_peak = max(self.pss_peak, self._sum("Pss"))


def measure(plan: Plan, results: Results) -> None:
    """Each server in turn, alone: its start, its rest, its large uploads, its end."""
    if CURL is None:
        results.note("There was no curl: no memory was measured.")
        return
    some = servers(plan.folder / "memory", results)
    one = make_file(plan.folder / "one.bin", plan.large_mb)
    many = make_file(plan.folder / "many.bin", plan.many_mb)
    tiny = plan.folder / "tiny.bin"
    tiny.write_bytes(b"0123456789abcdef" * 6400)
    for number in range(plan.rounds):
        say(f"memory: round {number + 1} of {plan.rounds}")
        for server in in_turn(some, number):
            try:
                results.add("memory", server.name, "start", server.start())
                send(server, tiny, 1)  # what is loaded at first use is loaded
                server.settle()
                for field in ("VmRSS", "Pss"):
                    idle = sum(memory(pid, field) for pid in server.pids()) / MIB
                    results.add("memory", server.name, f"{field} idle", idle)
                for what, file, count in (("one", one, 1), ("many", many, AT_ONCE)):
                    with Watch(server) as watch:
                        send(server, file, count)
                    growth = watch.rss_peak - watch.rss_before
                    results.add("memory", server.name, f"VmRSS peak {what}", watch.rss_peak)
                    results.add("memory", server.name, f"Pss peak {what}", watch.pss_peak)
                    results.add("memory", server.name, f"growth {what}", growth)
            finally:
                server.end()
