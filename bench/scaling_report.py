"""Tables and charts of docs/scaling.md: `python -m bench.scaling_report [FILE] [--docs]`."""

import argparse
from collections.abc import Callable
from pathlib import Path

from bench.charts import Bar, bars
from bench.hosts import FILES, SQLITE, USERS
from bench.report import number, table
from bench.results import Results, load
from bench.servers import ROOT

PAGE = ROOT / "docs/scaling.md"
CHARTS = ROOT / "docs/scaling"
KEPT = CHARTS / "results.json"
BEGIN, END = "<!-- figures: made by make bench-scaling -->", "<!-- end of the figures -->"
DRAWN = (
    "My files, newest, a later page",
    "My files, largest, a later page",
    "My files, name, a later page",
    "My files, searched",
    "gallery, a later page",
    "gallery of a common tag, a later page",
    "gallery of two common tags, a later page",
    "gallery of a common and a rare tag, first page",
    "an item's neighbours",
    "a file by its name",
    "a token",
    "an upload",
    "a delete",
)


def about(results: Results) -> str:
    """Where, when and how the figures were made, and what to know of them."""
    told = results.about
    line = (
        f"{told['date']}: {told['cores']} cores ({told['processor']}),"
        f" {told['memory_mb'] // 1024} GB, {told['filesystem']} with {told['fsync_ms']} ms for an"
        f" fsync; PostgreSQL {told['postgresql']} with 1 GB of shared buffers, Python"
        f" {told['python']}, all on this one machine."
    )
    return "\n\n".join([line, *results.notes])


def rows_table(results: Results) -> str:
    """Lists, look-ups and writes with few and with many rows."""
    few, many = results.about["sizes"]
    lines = []
    for name in results.subjects("rows"):
        cells = [
            number(results.middle("rows", name, f"{word} rows {size}"), ".2f")
            for word in ("p50", "p99")
            for size in (few, many)
        ]
        for word in ("p50", "cpu"):
            one, other = (name, f"{word} rows {many}"), (name, f"{word} rows {few}")
            cells.append(number(results.ratio("rows", one, other), ".2f"))
        lines.append([name, *cells])
    heads = ["ms", *(f"{word}{size:,}" for word in ("", "p99, ") for size in (few, many))]
    heads += ["× by the clock", "× processor time"]
    return table(heads, lines)


def size_line(results: Results) -> str:
    """How large the large database is."""
    measure = f"rows {results.about['sizes'][-1]}"
    rows = ", ".join(
        f"{number(results.middle('size', name, measure))} rows of {word}"
        for name, word in (
            ("Item", "item"), ("ItemTag", "item_tag"), ("Comment", "comment"), ("User", "user")
        )
    )  # fmt: skip
    size, items = (results.middle("size", one, measure) for one in ("database", "Item"))
    if size is None or not items:
        return ""
    return f"The large one takes {size / 1e9:.1f} GB, {size / items:.0f} bytes an item: {rows}."


def trips_table(results: Results) -> str:
    """Round trips to PostgreSQL, and requests to S3."""
    lines = [
        [name, number(results.middle("trips", name, "round trips"))]
        for name in results.subjects("trips")
    ]
    first = table(["from the token to the answer", "round trips"], lines)
    lines = [
        [
            f"{int(name.split()[0]):,} bytes",
            number(results.middle("requests", name, "If-None-Match")),
            number(results.middle("requests", name, "without it")),
        ]
        for name in results.subjects("requests")
    ]
    heads = ["upload to S3", "requests", "where If-None-Match is ignored"]
    return first + "\n\n" + table(heads, lines)


def hosts_table(results: Results) -> str:
    """Uploads a second as ratios, and processor time."""
    lines = []
    for name in results.subjects("hosts"):
        kind = name.partition(", ")[0]
        cells = []
        for users in USERS:
            mine = (name, f"rate {users}")
            for other in (f"{kind}, 1 server", f"{SQLITE}, 1 server"):
                ratio = results.ratio("hosts", mine, (other, f"rate {users}"))
                cells.append(number(ratio, ".2f"))
        many = max(USERS)
        for who in ("Kissa", "PostgreSQL", "S3"):
            cells.append(number(results.middle("hosts", name, f"cpu {who} {many}"), ".2f"))
        lines.append([name, *cells])
    heads = ["8 connections, 100 KB"]
    for users in USERS:
        of = f"{users} user{'s' if users > 1 else ''}"
        heads += [f"{of}, × 1 server", "× SQLite"]
    heads += ["ms processor: Kissa", "PostgreSQL", "S3 server"]
    return table(heads, lines)


def commits_table(results: Results) -> str:
    """Uploads a second and for each sync, by the number of users."""
    users = results.measures("commits", "rate")
    lines = []
    for name in results.subjects("commits"):
        for many in users:
            rate = results.middle("commits", name, f"rate {many}")
            ratio = results.ratio("commits", (name, f"rate {many}"), (name, f"rate {users[0]}"))
            shared = results.middle("commits", name, f"shared {many}")
            cells = [number(rate), number(ratio, ".2f"), number(shared, ".1f")]
            lines.append([name, str(many), *cells])
    heads = ["an fsync takes", "users", "uploads a second", "× 1 user", "uploads for each sync"]
    return table(heads, lines)


def partitions_table(results: Results) -> str:
    """One table and partitions of it."""
    lines = []
    for name in results.subjects("partitions"):
        one, other = "p50 one table", "p50 partitions"
        cells = [number(results.middle("partitions", name, word), ".2f") for word in (one, other)]
        for word in ("p50", "cpu"):
            pair = (name, f"{word} partitions"), (name, f"{word} one table")
            cells.append(number(results.ratio("partitions", *pair), ".2f"))
        lines.append([name, *cells])
    return table(["ms", "one table", "partitions", "× by the clock", "× processor time"], lines)


SECTIONS: dict[str, tuple[str, Callable[[Results], str]]] = {
    "rows": ("Rows", lambda r: f"{size_line(r)}\n\n{rows_table(r)}"),
    "trips": ("Round trips and requests", trips_table),
    "hosts": ("Servers", hosts_table),
    "commits": ("Commits", commits_table),
    "partitions": ("Partitions", partitions_table),
}


def draw(results: Results) -> dict[str, tuple[str, str, str]]:
    """The charts: by name the part, a text in their place, the SVG document."""
    drawn = {}
    if "rows" in results.figures:
        drawn["rows"] = ("rows", "Reads and writes as the database grows", _rows(results))
    if "hosts" in results.figures:
        drawn["cpu"] = ("hosts", "Processor time of an upload", _cpu(results))
    if "commits" in results.figures:
        drawn["commits"] = ("commits", "Uploads a second by users", _commits(results))
    return drawn


def _rows(results: Results) -> str:
    groups = []
    for name in DRAWN:
        some = []
        for size, kind in zip(results.about["sizes"], ("ours", "variant"), strict=True):
            value = results.middle("rows", name, f"p50 rows {size}")
            if value is not None:
                some.append(Bar(label=f"{size:,} rows", value=value, kind=kind))
        groups.append((name, some))
    note = "ms, the median of 200 calls; less is better."
    return bars("PostgreSQL, as the database grows", note, groups, "{:.2f}".format)


def _cpu(results: Results) -> str:
    groups = []
    for name in FILES:
        some = []
        for who, kind in (("Kissa", "ours"), ("PostgreSQL", "variant"), ("S3", "other")):
            value = results.middle("hosts", f"{name}, 1 server", f"cpu {who} {max(USERS)}")
            if value is not None:
                label = "the S3 server (rclone)" if who == "S3" else who
                some.append(Bar(label=label, value=value, kind=kind))
        groups.append((name, some))
    note = "ms of a core for 100 KB, 8 users; less is better."
    return bars("Processor time of an upload", note, groups, "{:.2f}".format)


def _commits(results: Results) -> str:
    groups = []
    for name in results.subjects("commits"):
        some = []
        for users in results.measures("commits", "rate"):
            value = results.middle("commits", name, f"rate {users}")
            if value is not None:
                label = f"{users} user{'s' if users > 1 else ''}"
                some.append(Bar(label=label, value=value, kind="ours"))
        groups.append((f"fsync {name}", some))
    note = "a second, over 8 connections, 100 KB each; more is better."
    return bars("Uploads to PostgreSQL with a slow disk", note, groups, "{:,.0f}".format)


def markdown(results: Results, *, with_charts: bool = False) -> str:
    """Everything that was measured, as sections."""
    drawn = draw(results) if with_charts else {}
    parts = [about(results)]
    for part, (heading, made) in SECTIONS.items():
        if part in results.figures:
            parts += [f"### {heading}", made(results)]
            parts += [
                f"![{words}](scaling/{name}.svg)"
                for name, (of, words, _) in drawn.items()
                if of == part
            ]
    return "\n\n".join(parts)


def with_figures(page: str, results: Results) -> str:
    """A page whose figures stand between its markers.

    Raises:
        ValueError: it has no markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no markers for the figures")
    return f"{before}{begin}\n\n{markdown(results, with_charts=True)}\n\n{end}{after}"


def write_docs(results: Results) -> None:
    """Figures and charts of docs/scaling.md, and what they were made from."""
    results.save(KEPT)
    for name, (_, _, svg) in draw(results).items():
        (CHARTS / f"{name}.svg").write_text(svg, encoding="utf-8")
    PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


def main() -> None:
    """Print the report of a run, or put it into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling_report", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=KEPT)
    parser.add_argument("--docs", action="store_true", help="write docs/scaling.md anew")
    given = parser.parse_args()
    results = load(given.file)
    if given.docs:
        write_docs(results)
    else:
        print(markdown(results))


if __name__ == "__main__":
    main()
