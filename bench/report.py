"""Tables and charts from a run's figures: `python -m bench.report [FILE] [--docs]`."""

import argparse
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import drawings
from bench.results import Results, load
from bench.servers import (
    COPYPARTY,
    COPYPARTY_256,
    FAST,
    FAST_FRONT,
    FRONT,
    KISSA,
    NOTHING,
    PUT,
    ROOT,
)
from bench.slow_disk import EACH, SHARED
from bench.targets import targets

PAGE = ROOT / "docs/performance.md"
CHARTS = ROOT / "docs/performance"
KEPT = CHARTS / "results.json"
BEGIN, END = "<!-- figures: made by make bench-long -->", "<!-- end of the figures -->"
NONE = "–"


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; its columns are as wide as their widest cell."""
    rows = [list(heads), *(list(line) for line in lines)]
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(rows[0]), line(["-" * width for width in widths]), *map(line, rows[1:])])


def number(value: float | None, form: str = ",.0f") -> str:
    """A figure as it stands in a table."""
    return NONE if value is None else format(value, form)


def _short(value: float | None) -> str:
    return number(value, ",.0f" if value is None or value >= 10 else ".1f")


def about(results: Results) -> str:
    """Where, when and how the figures were made, and what to know of them."""
    told = results.about
    sha = ", SHA-NI" if told["sha_ni"] else ""
    versions = ", ".join(
        f"{name} {told[name]}"
        for name in ("python", "gunicorn", "nginx", "copyparty")
        if told[name]
    )
    rounds = f"{told['rounds']} round{'s' if told['rounds'] > 1 else ''}"
    lines = [
        f"{told['date']}: {told['cores']} cores ({told['processor']}{sha}), "
        f"{told['memory_mb'] // 1024} GB, {told['system']}, "
        f"{told['filesystem']} with {told['fsync_ms']} ms for an fsync; {versions}. "
        f"{rounds}, {told['seconds']} s a point of 100 KB uploads."
    ]
    if told["mode"] != "long":
        lines.append("**Of a short run: placeholders, not to be quoted.**")
    return "\n\n".join([*lines, *results.notes])


def targets_table(results: Results) -> str:
    """Every target, the figure reached, and whether that is enough."""
    lines = []
    for one in targets(results):
        value, space = one.reached(results), "" if one.unit == "×" else " "
        sign = "≤ " if one.is_most else "≥ "
        lines.append(
            [
                one.what,
                f"{sign}{one.enough:g}{space}{one.unit}",
                NONE if one.stretch is None else f"{sign}{one.stretch:g}{space}{one.unit}",
                NONE if value is None else f"{value:.2f}{space}{one.unit}",
                one.verdict(results),
            ]
        )
    return table(["target", "at least", "stretch", "reached", "verdict"], lines)


def uploads_table(results: Results) -> str:
    """100 KB uploads: answers a second, p50, p99, and ratios."""
    clients = results.measures("uploads", "rate")
    together = " / ".join(map(str, clients))

    def ratios(name: str, to: str) -> str:
        found = [
            results.ratio("uploads", (name, f"rate {many}"), (to, f"rate {many}"))
            for many in clients
        ]
        return " / ".join(number(one, ".2f") for one in found)

    lines = []
    for name in results.subjects("uploads"):
        columns = [
            [results.middle("uploads", name, f"{word} {many}") for many in clients]
            for word in ("rate", "p50", "p99")
        ]
        cells = [" / ".join(map(number, columns[0]))]
        cells += [" / ".join(map(_short, column)) for column in columns[1:]]
        lines.append([name, *cells, ratios(name, COPYPARTY), ratios(name, PUT)])
    heads = [
        f"100 KB, {together} clients", "uploads/s", "p50 ms", "p99 ms", "× copyparty", "× nginx PUT"
    ]  # fmt: skip
    return table(heads, lines)


def generator(results: Results) -> str:
    """How far the load generator was from being what was measured."""
    found = [
        ratio
        for many in results.measures("uploads", "rate")
        for name in (KISSA, FAST, FRONT, FAST_FRONT, COPYPARTY, COPYPARTY_256)
        if (ratio := results.ratio("uploads", (NOTHING, f"rate {many}"), (name, f"rate {many}")))
    ]
    if not found:
        return "Nothing tells whether wrk itself was the limit: that takes nginx."
    least = min(found)
    enough = "it was not the limit" if least >= 3 else "**it may have been the limit**"
    return (
        f"wrk got at least {least:.1f} times as many answers from an nginx that reads the same"
        f" bodies and answers 204 as from Kissa and copyparty: {enough}."
    )


def large_table(results: Results) -> str:
    """Large uploads: MB a second, and ratios."""
    lines = []
    for name in results.subjects("large"):
        cells = [number(results.middle("large", name, what)) for what in ("one", "many")]
        for to in (COPYPARTY, PUT):
            found = (results.ratio("large", (name, what), (to, what)) for what in ("one", "many"))
            cells.append(" / ".join(number(one, ".2f") for one in found))
        lines.append([name, *cells])
    one, many = drawings.size(results, "one"), drawings.size(results, "many")
    heads = ["MB/s", f"{one}", f"10 × {many} at once", "× copyparty", "× nginx PUT"]
    return table(heads, lines)


def memory_table(results: Results) -> str:
    """Memory at rest and at its peak, growth, and the start."""
    lines = []
    for name in results.subjects("memory"):

        def cell(measure: str, form: str = ",.0f", name: str = name) -> str:
            return number(results.middle("memory", name, measure), form)

        peaks = [
            f"{cell(f'VmRSS peak {one}')} / {cell(f'Pss peak {one}')}" for one in ("one", "many")
        ]
        idle = f"{cell('VmRSS idle', '.1f')} / {cell('Pss idle', '.1f')}"
        growth = f"{cell('growth one', '.1f')} / {cell('growth many', '.1f')}"
        lines.append([name, idle, *peaks, growth, cell("start", ".2f")])
    one, many = drawings.size(results, "one"), drawings.size(results, "many")
    heads = [
        "RSS / PSS in MB", "at rest", f"peak, {one}", f"peak, 10 × {many}",
        "growth of RSS, each", "start, s",
    ]  # fmt: skip
    return table(heads, lines)


def slow_disk_table(results: Results) -> str:
    """Shared commits against a commit for each, on a slow disk."""
    lines = []
    for many in results.measures("slow-disk", "rate"):
        cells = [
            number(results.middle("slow-disk", name, f"{word} {many}"), form)
            for word, form in (("rate", ",.0f"), ("p99", ",.1f"))
            for name in (SHARED, EACH)
        ]
        ratio = results.ratio("slow-disk", (SHARED, f"rate {many}"), (EACH, f"rate {many}"))
        lines.append([str(many), *cells, number(ratio, ".2f")])
    heads = ["clients", SHARED, EACH, "p99 ms, shared", "p99 ms, each", "×"]
    return table(heads, lines)


def reads_table(results: Results) -> str:
    """Reads at several sizes, and how many times the smallest the others are."""
    sizes = results.measures("reads", "rows")
    few = f"rows {sizes[0]}"
    lines = []
    for name in results.subjects("reads"):
        cells = [number(results.middle("reads", name, f"rows {one}"), ".3f") for one in sizes]
        for one in sizes[1:]:
            ratio = results.ratio("reads", (name, f"rows {one}"), (name, few))
            cells.append(number(ratio, ".2f"))
        lines.append([name, *cells])
    heads = ["ms", *(f"{one:,} rows" for one in sizes), *(f"× at {one:,}" for one in sizes[1:])]
    return table(heads, lines)


SECTIONS = {
    "uploads": ("Uploads of 100 KB", uploads_table),
    "large": ("Large uploads", large_table),
    "memory": ("Memory and start", memory_table),
    "slow-disk": ("A slow disk", slow_disk_table),
    "reads": ("Reads", reads_table),
}


def markdown(results: Results, *, with_charts: bool = False) -> str:
    """All of it as Markdown; with links to the charts where it is for the documentation."""
    parts = [about(results), "### Targets", targets_table(results)]
    charts = drawings.draw(results) if with_charts else {}
    for name, (heading, made) in SECTIONS.items():
        if name in results.figures:
            parts += [f"### {heading}", made(results)]
            parts += [generator(results)] if name == "uploads" else []
            parts += [
                f"![{words}](performance/{chart}.svg)"
                for chart, (part, words, _) in charts.items()
                if part == name
            ]
    return "\n\n".join(parts) + "\n"


def with_figures(page: str, results: Results) -> str:
    """The page with the figures between its two markers.

    Raises:
        ValueError: it has no such markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks its markers: {BEGIN} and {END}")
    return f"{before}{begin}\n\n{markdown(results, with_charts=True)}\n{end}{after}"


def write_docs(results: Results) -> None:
    """Put figures and charts into the documentation, and keep what they were made from."""
    page = with_figures(PAGE.read_text(encoding="utf-8"), results)
    shutil.rmtree(CHARTS, ignore_errors=True)
    results.save(KEPT)
    for name, (_, _, svg) in drawings.draw(results).items():
        (CHARTS / f"{name}.svg").write_text(svg, encoding="utf-8")
    PAGE.write_text(page, encoding="utf-8")


def main() -> int:
    """Print the report of kept figures. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=KEPT, help="figures of a run")
    parser.add_argument("--docs", action="store_true", help="draw docs/performance.md anew")
    given = parser.parse_args()
    results = load(given.file)
    print(markdown(results))
    if given.docs:
        write_docs(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
