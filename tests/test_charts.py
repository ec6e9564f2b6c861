"""Charts: well-formed, in proportion, escaped."""

from xml.etree import ElementTree

import pytest

import charts

HOSTILE = "<b>\"'&"


def numbers(svg: str, name: str) -> list[float]:
    return [float(one.attrib[name]) for one in ElementTree.fromstring(svg).iter("rect")]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (9, "9 B"), (1023, "1023 B"), (1024, "1.0 KB"), (1536, "1.5 KB"),
        (10 * 1024, "10 KB"), (5 * 1024**3, "5.0 GB"), (3 * 1024**4, "3.0 TB"),
        (2048 * 1024**4, "2048 TB"),
    ],
)  # fmt: skip
def test_bytes(size: int, text: str) -> None:
    assert charts.bytes_text(size) == text


def test_bars_are_in_proportion() -> None:
    svg = charts.bars([("a", 0), ("b", 50), ("c", 100), ("d", 1)], "uploads")
    assert numbers(svg, "height") == [0, charts.HEIGHT / 2, charts.HEIGHT, 2]
    assert numbers(svg, "x") == [0, 150, 300, 450]
    assert "uploads, a to d, at most 100 a day" in svg


def test_shares_are_in_proportion() -> None:
    svg = charts.shares([("image", 30), ("text", 10), ("none", 0)])
    wide, narrow, none = numbers(svg, "width")
    assert wide == pytest.approx(3 * narrow, abs=2)
    assert none == 2
    assert ">30 · 75%<" in svg


@pytest.mark.parametrize("values", [[], [("a", 0)], [("a", 0), ("b", 0)]])
def test_nothing_yet(values: list[tuple[str, int]]) -> None:
    for svg in (charts.bars(values, "x"), charts.shares(values)):
        ElementTree.fromstring(svg)


def test_labels_are_escaped() -> None:
    for svg in (charts.bars([(HOSTILE, 1)], HOSTILE), charts.shares([(HOSTILE, 1)])):
        assert "<b>" not in svg
        texts = [one.text for one in ElementTree.fromstring(svg).iter("text")]
        assert HOSTILE in texts
