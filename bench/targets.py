"""What Kissa wants to reach, as data: which figures are compared, and what is enough."""

from dataclasses import dataclass

from bench.results import Results
from bench.servers import COPYPARTY, FAST, KISSA, PUT
from bench.slow_disk import EACH, SHARED

MET, STRETCH, SHORT, UNKNOWN = "met", "stretch", "short", "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One line of the targets.

    Args:
        what: the line's words.
        part: where in the results it is found; empty when this benchmark does not measure it.
        figure: subject and measure.
        against: the same of what it is divided by, or None for the figure itself.
        unit: stands behind the numbers.
        enough, stretch: what is wanted, and what would be more than that, if anything.
        is_most: whether less is better.
    """

    what: str
    part: str
    figure: tuple[str, str]
    enough: float
    stretch: float | None
    against: tuple[str, str] | None = None
    unit: str = "×"
    is_most: bool = False

    def reached(self, results: Results) -> float | None:
        """The figure, or None when it was not measured."""
        if self.against is None:
            return results.middle(self.part, *self.figure)
        return results.ratio(self.part, self.figure, self.against)

    def verdict(self, results: Results) -> str:
        """MET, STRETCH (even the second number), SHORT or UNKNOWN."""
        value = self.reached(results)
        if value is None:
            return UNKNOWN
        sign = -1 if self.is_most else 1
        if self.stretch is not None and sign * value >= sign * self.stretch:
            return STRETCH
        return MET if sign * value >= sign * self.enough else SHORT


def _growth(rows: list[int], subject: str, what: str) -> Target:
    """That a read takes no longer with very many rows than with few."""
    few, many = (rows[0], rows[-1]) if rows else (1000, 5_000_000)
    return Target(
        what=f"{what}, {many:,} rows against {few:,}",
        part="reads",
        figure=(subject, f"rows {many}"),
        against=(subject, f"rows {few}"),
        enough=1.2,
        stretch=1.05,
        is_most=True,
    )


def targets(results: Results) -> list[Target]:
    """All targets; those of the reads speak of the sizes that were measured."""
    rows = results.measures("reads", "rows")
    return [
        Target(
            what="100 KB at 8 clients, durable, against copyparty, which syncs nothing",
            part="uploads",
            figure=(KISSA, "rate 8"),
            against=(COPYPARTY, "rate 8"),
            enough=1.0,
            stretch=1.5,
        ),
        Target(
            what="the same, `durable = false`",
            part="uploads",
            figure=(FAST, "rate 8"),
            against=(COPYPARTY, "rate 8"),
            enough=1.4,
            stretch=2.5,
        ),
        Target(
            what="the same, durable, against 0x0",
            part="",
            figure=(KISSA, "rate 8"),
            against=("0x0", "rate 8"),
            enough=4,
            stretch=10,
        ),
        Target(
            what="the same, `durable = false`, against 0x0",
            part="",
            figure=(FAST, "rate 8"),
            against=("0x0", "rate 8"),
            enough=7,
            stretch=10,
        ),
        Target(
            what="fsync 2 ms slower, 16 clients: shared commits against a commit for each",
            part="slow-disk",
            figure=(SHARED, "rate 16"),
            against=(EACH, "rate 16"),
            enough=3.5,
            stretch=5,
        ),
        Target(
            what="the same, p99 of shared commits",
            part="slow-disk",
            figure=(SHARED, "p99 16"),
            enough=30,
            stretch=None,
            unit="ms",
            is_most=True,
        ),
        Target(
            what="1 GB multipart, hashed, against copyparty",
            part="large",
            figure=(KISSA, "one"),
            against=(COPYPARTY, "one"),
            enough=1.5,
            stretch=2.2,
        ),
        Target(
            what="the same against nginx PUT",
            part="large",
            figure=(KISSA, "one"),
            against=(PUT, "one"),
            enough=0.30,
            stretch=0.40,
        ),
        Target(
            what="growth of RSS during 1 GB",
            part="memory",
            figure=(KISSA, "growth one"),
            enough=8,
            stretch=4,
            unit="MB",
            is_most=True,
        ),
        Target(
            what="growth of RSS during 10 × 200 MB",
            part="memory",
            figure=(KISSA, "growth many"),
            enough=8,
            stretch=4,
            unit="MB",
            is_most=True,
        ),
        Target(
            what="the whole server at rest, PSS",
            part="memory",
            figure=(KISSA, "Pss idle"),
            enough=70,
            stretch=60,
            unit="MB",
            is_most=True,
        ),
        Target(
            what="p99 at 8 clients against copyparty",
            part="uploads",
            figure=(KISSA, "p99 8"),
            against=(COPYPARTY, "p99 8"),
            enough=1.1,
            stretch=0.8,
            is_most=True,
        ),
        Target(
            what="p99 at 32 clients against copyparty",
            part="uploads",
            figure=(KISSA, "p99 32"),
            against=(COPYPARTY, "p99 32"),
            enough=0.5,
            stretch=0.3,
            is_most=True,
        ),
        _growth(rows, "a list of 60 files", "a list of 60 files"),
        _growth(rows, "the page My files", "a page of 60 files"),
        _growth(rows, "/api/info", "`/api/info`"),
        _growth(rows, "the token check", "the token check"),
        Target(
            what="from gunicorn's exec to the first answer",
            part="memory",
            figure=(KISSA, "start"),
            enough=0.4,
            stretch=0.2,
            unit="s",
            is_most=True,
        ),
    ]
