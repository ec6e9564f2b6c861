"""Small charts as SVG text, drawn by the server; colours come from the stylesheet's classes."""

from collections.abc import Callable, Sequence
from html import escape

WIDTH, HEIGHT, GAP = 600, 140, 2
HEAD = 22  # room above the bars for the highest number


def bytes_text(size: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024 or unit == "TB":
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def bars(
    values: Sequence[tuple[str, int]], what: str, text: Callable[[float], str] = "{:.0f}".format
) -> str:
    """A bar for each pair of label and number, its highest as tall as the chart.

    Args:
        what: what is counted, for the title that assistive technology reads.
        text: makes a number readable.
    """
    top = max((number for _, number in values), default=0) or 1
    step = WIDTH / max(1, len(values))
    drawn = []
    for place, (label, number) in enumerate(values):
        height = max(2 if number else 0, round(number / top * HEIGHT))
        title = escape(f"{label}: {text(number)}")
        drawn.append(
            f'<rect class="bar" x="{place * step:.1f}" y="{HEIGHT - height}" '
            f'width="{step - GAP:.1f}" height="{height}"><title>{title}</title></rect>'
        )
    first, last = (escape(values[0][0]), escape(values[-1][0])) if values else ("", "")
    summary = f"{what}, {first} to {last}, at most {text(top)} a day"
    return (
        f'<svg class="chart" viewBox="0 {-HEAD} {WIDTH} {HEAD + HEIGHT + 24}" role="img" '
        f'aria-label="{escape(summary)}">'
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}"/>'
        f"{''.join(drawn)}"
        f'<text x="0" y="{HEIGHT + 18}">{first}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 18}" text-anchor="end">{last}</text>'
        f'<text x="{WIDTH}" y="-6" text-anchor="end">{escape(text(top))}</text></svg>'
    )


def shares(values: Sequence[tuple[str, int]]) -> str:
    """One line a pair of label and number, as long as its share of the whole."""
    whole = sum(number for _, number in values) or 1
    drawn = []
    for place, (label, number) in enumerate(values):
        y, width = place * 30, max(2, round(number / whole * (WIDTH - 220)))
        words = escape(f"{number} · {number / whole:.0%}")
        drawn.append(
            f'<text x="0" y="{y + 19}">{escape(label)}</text>'
            f'<rect class="bar" x="90" y="{y + 5}" width="{width}" height="18"/>'
            f'<text x="{100 + width}" y="{y + 19}">{words}</text>'
        )
    summary = ", ".join(f"{label} {number}" for label, number in values) or "nothing yet"
    height = max(30, len(values) * 30)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(summary)}">{"".join(drawn)}</svg>'
    )
