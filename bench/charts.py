"""Bar charts as SVG files that can be read on a light and on a dark page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, MARGIN, LABEL, NUMBER = 760, 20, 230, 80
ROW, BAR, GROUP, HEAD = 24, 16, 34, 66
FULL = WIDTH - 2 * MARGIN - LABEL - NUMBER  # the longest bar

STYLE = """
.card{fill:#fff;stroke:#d1d9e0}
text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}
.title{font-size:17px;font-weight:600}
.group{font-weight:600}
.note{fill:#59636e}
.number{font-variant-numeric:tabular-nums}
.ours{fill:#0969da}
.variant{fill:#6cb0f5}
.other{fill:#b4bcc6}
@media (prefers-color-scheme:dark){
.card{fill:#151b23;stroke:#3d444d}
text{fill:#f0f6fc}
.note{fill:#9198a1}
.ours{fill:#4493f8}
.variant{fill:#2b5f9e}
.other{fill:#656c76}
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: `kind` is ours, variant or other, and gives its colour."""

    label: str
    value: float
    kind: str = "other"


def bars(
    title: str,
    note: str,
    groups: Sequence[tuple[str, Sequence[Bar]]],
    text: Callable[[float], str],
) -> str:
    """A chart of horizontal bars, all on one scale that begins at 0.

    Args:
        note: what is counted, and whether more or less is better.
        groups: a heading, which may be empty, and its bars.
        text: makes a number readable.

    Returns:
        a whole SVG document.
    """
    top = max((bar.value for _, some in groups for bar in some), default=0) or 1
    drawn: list[str] = []
    y = HEAD
    for heading, some in groups:
        if heading:
            drawn.append(f'<text class="group" x="{MARGIN}" y="{y + 22}">{escape(heading)}</text>')
            y += GROUP
        for bar in some:
            drawn.append(_bar(bar, y, bar.value / top * FULL, text(bar.value)))
            y += ROW
    height = y + MARGIN
    summary = "; ".join(
        f"{heading}: " + ", ".join(f"{bar.label} {text(bar.value)}" for bar in some)
        for heading, some in groups
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="t d">\n'
        f'<title id="t">{escape(title)}</title>\n<desc id="d">{escape(summary)}</desc>\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>\n'
        f'<text class="title" x="{MARGIN}" y="32">{escape(title)}</text>\n'
        f'<text class="note" x="{MARGIN}" y="53">{escape(note)}</text>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def _bar(bar: Bar, y: int, width: float, number: str) -> str:
    start, middle = MARGIN + LABEL, y + 17
    return (
        f'<text x="{start - 10}" y="{middle}" text-anchor="end">{escape(bar.label)}</text>'
        f'<rect class="{bar.kind}" x="{start}" y="{y + 4}" width="{max(1.0, width):.1f}" '
        f'height="{BAR}" rx="2"/>'
        f'<text class="number" x="{start + max(1.0, width) + 8:.1f}" y="{middle}">'
        f"{escape(number)}</text>"
    )
