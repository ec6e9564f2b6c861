"""Which figures are drawn: the charts of docs/performance.md."""

from collections.abc import Callable, Sequence

from bench.charts import Bar, bars
from bench.results import Results
from bench.servers import COPYPARTY, COPYPARTY_256, FAST, FAST_FRONT, FRONT, KISSA, PUT
from bench.slow_disk import EACH, SHARED

OURS = {KISSA: "ours", SHARED: "ours"}
VARIANTS = {FAST, FRONT, FAST_FRONT}
SERVERS = (KISSA, FAST, FRONT, FAST_FRONT, COPYPARTY, COPYPARTY_256)
Groups = list[tuple[str, list[Bar]]]


def _bars(results: Results, part: str, subjects: Sequence[str], measure: str) -> list[Bar]:
    found = []
    for subject in subjects:
        value = results.middle(part, subject, measure)
        if value is not None:
            kind = OURS.get(subject) or ("variant" if subject in VARIANTS else "other")
            found.append(Bar(label=subject, value=value, kind=kind))
    return found


def _by_clients(results: Results, part: str, subjects: Sequence[str], word: str) -> Groups:
    return [
        (_clients(number), _bars(results, part, subjects, f"{word} {number}"))
        for number in results.measures(part, word)
    ]


def _clients(number: int) -> str:
    return f"{number} client{'s' if number > 1 else ''}"


def _uploads(results: Results) -> str:
    return bars(
        "Uploads of 100 KB",
        "a second; more is better. Only the durable ones sync anything.",
        _by_clients(results, "uploads", SERVERS, "rate"),
        "{:,.0f}".format,
    )


def _p99(results: Results) -> str:
    return bars(
        "Uploads of 100 KB: how long the slowest of a hundred takes",
        "ms (p99); less is better.",
        _by_clients(results, "uploads", SERVERS, "p99"),
        "{:,.1f}".format,
    )


def _large(results: Results) -> str:
    groups = [
        (f"one upload of {size(results, 'one')}", _bars(results, "large", (*SERVERS, PUT), "one")),
        (
            f"ten of {size(results, 'many')} at once",
            _bars(results, "large", (*SERVERS, PUT), "many"),
        ),
    ]
    note = "MB a second; more is better. All but nginx hash what they take."
    return bars("Large uploads", note, groups, "{:,.0f}".format)


def size(results: Results, what: str) -> str:
    """The size of the large uploads of this run: of `one`, or of each of `many`."""
    megabytes = int(results.about[f"{what.replace('one', 'large')}_mb"])
    return f"{megabytes // 1024} GB" if megabytes % 1024 == 0 else f"{megabytes} MB"


def _memory(results: Results) -> str:
    subjects = (*SERVERS, PUT)
    groups = [
        ("at rest", _bars(results, "memory", subjects, "Pss idle")),
        (
            f"during one upload of {size(results, 'one')}",
            _bars(results, "memory", subjects, "Pss peak one"),
        ),
        (
            f"during ten of {size(results, 'many')} at once",
            _bars(results, "memory", subjects, "Pss peak many"),
        ),
    ]
    note = "MB (PSS) of all processes of a server together; less is better."
    return bars("Memory", note, groups, "{:,.0f}".format)


def _slow_disk(results: Results) -> str:
    return bars(
        "Uploads of 100 KB where fsync takes 2 ms more",
        "a second, durable; more is better.",
        _by_clients(results, "slow-disk", (SHARED, EACH), "rate"),
        "{:,.0f}".format,
    )


def _reads(results: Results) -> str:
    sizes = results.measures("reads", "rows")
    groups: Groups = []
    for subject in results.subjects("reads"):
        some = []
        for number in sizes:
            value = results.middle("reads", subject, f"rows {number}")
            if value is not None:
                kind = "ours" if number == sizes[0] else "variant"
                some.append(Bar(label=f"{number:,} rows", value=value, kind=kind))
        groups.append((subject, some))
    note = "ms, the median of requests one after the other; less is better."
    return bars("Reads, as the database grows", note, groups, "{:.2f}".format)


_DRAWN: dict[str, tuple[str, str, Callable[[Results], str]]] = {
    "uploads": ("uploads", "Uploads of 100 KB a second", _uploads),
    "p99": ("uploads", "The slowest of a hundred uploads", _p99),
    "large": ("large", "Large uploads in MB a second", _large),
    "memory": ("memory", "Memory at rest and during large uploads", _memory),
    "slow-disk": ("slow-disk", "Uploads on a slow disk", _slow_disk),
    "reads": ("reads", "Reads at several sizes of the database", _reads),
}


def draw(results: Results) -> dict[str, tuple[str, str, str]]:
    """The charts of what was measured.

    Returns:
        by name: the part that it belongs to, a text in its place, the SVG document.
    """
    return {
        name: (part, words, made(results))
        for name, (part, words, made) in _DRAWN.items()
        if part in results.figures
    }
