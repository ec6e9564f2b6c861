"""The benchmarks' arithmetic and drawings; what they measure is no business of the tests."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import charts, drawings, report, rows
from bench.disk import make_spread, put_aside
from bench.plan import in_turn
from bench.results import Results, load
from bench.run import PARTS
from bench.servers import COPYPARTY, FAST, KISSA, PUT
from bench.slow_disk import EACH, SHARED
from bench.targets import MET, SHORT, STRETCH, UNKNOWN, Target, targets
from tests.live.conftest import Server

ROOT = Path(__file__).parent.parent
HOSTILE = "<b>\"'&"
ABOUT = {
    "cores": 2,
    "processor": "a processor",
    "sha_ni": True,
    "memory_mb": 4096,
    "system": "Linux 6.1",
    "python": "3.11.2",
    "gunicorn": "1.0",
    "nginx": "1.22",
    "copyparty": None,
    "filesystem": "ext4",
    "fsync_ms": 0.2,
    "creation_ms": 0.05,
    "load": 0.1,
    "mode": "short",
    "date": "2026-01-01",
    "rounds": 3,
    "seconds": 2,
    "large_mb": 1024,
    "many_mb": 200,
}


def made(**values: list[float]) -> Results:
    """Results with these values of KISSA (ours) and copyparty (theirs) in `uploads`, rate 8."""
    results = Results(dict(ABOUT))
    for name, subject in (("ours", KISSA), ("theirs", COPYPARTY)):
        for value in values.get(name, []):
            results.add("uploads", subject, "rate 8", value)
    return results


@pytest.fixture
def whole() -> Results:
    """Results with something in every part."""
    results = Results(dict(ABOUT))
    results.note("Something to know.")
    for number, name in enumerate([KISSA, FAST, COPYPARTY, PUT], 1):
        for many in (8, 32):
            for word in ("rate", "p50", "p99"):
                results.add("uploads", name, f"{word} {many}", 100.0 * number)
        for what in ("one", "many"):
            results.add("large", name, what, 200.0 * number)
            for measure in ("VmRSS peak", "Pss peak", "growth"):
                results.add("memory", name, f"{measure} {what}", 5.0)
        for measure in ("VmRSS idle", "Pss idle", "start"):
            results.add("memory", name, measure, 0.25)
    for name, rate in ((SHARED, 400.0), (EACH, 100.0)):
        for word in ("rate", "p99"):
            results.add("slow-disk", name, f"{word} 16", rate)
    for name in ("/api/info", "the token check"):
        for size in (1000, 1_000_000):
            results.add("reads", name, f"rows {size}", size / 1000)
    return results


# Figures


def test_the_median_over_the_rounds() -> None:
    results = made(ours=[30, 10, 20])
    assert results.middle("uploads", KISSA, "rate 8") == 20
    assert results.middle("uploads", COPYPARTY, "rate 8") is None


def test_a_ratio_is_made_within_its_round() -> None:
    """A machine that is slow in one round is slow for all of them."""
    results = made(ours=[100, 10, 90], theirs=[50, 5, 30])
    one, other = (KISSA, "rate 8"), (COPYPARTY, "rate 8")
    assert results.ratio("uploads", one, other) == 2
    assert results.ratio("uploads", one, (PUT, "rate 8")) is None
    assert made(ours=[1], theirs=[0]).ratio("uploads", one, other) is None


def test_numbers_behind_a_word() -> None:
    results = made(ours=[1])
    results.add("uploads", KISSA, "rate 16", 1)
    results.add("uploads", KISSA, "p99 4", 1)
    assert results.measures("uploads", "rate") == [8, 16]
    assert results.measures("reads", "rows") == []


def test_results_are_kept(tmp_path: Path, whole: Results) -> None:
    whole.save(tmp_path / "new/results.json")
    back = load(tmp_path / "new/results.json")
    assert (back.about, back.notes, back.figures) == (whole.about, whole.notes, whole.figures)


def test_everybody_is_first_once() -> None:
    orders = [in_turn("abc", number) for number in range(4)]
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]
    assert in_turn([], 3) == []


# Targets


@pytest.mark.parametrize(
    ("value", "is_most", "verdict"),
    [
        (9, False, SHORT), (10, False, MET), (19, False, MET), (20, False, STRETCH),
        (41, True, SHORT), (40, True, MET), (31, True, MET), (30, True, STRETCH),
    ],
)  # fmt: skip
def test_verdicts(value: float, is_most: bool, verdict: str) -> None:
    enough, stretch = (40, 30) if is_most else (10, 20)
    target = Target(
        what="x",
        part="uploads",
        figure=(KISSA, "rate 8"),
        enough=enough,
        stretch=stretch,
        is_most=is_most,
    )
    assert target.verdict(made(ours=[value])) == verdict
    assert target.verdict(made()) == UNKNOWN


def test_every_target_finds_its_figure(whole: Results) -> None:
    """Only of what this benchmark does not measure is there none."""
    for name in ("a list of 60 files", "the page My files"):
        for size in (1000, 1_000_000):
            whole.add("reads", name, f"rows {size}", 1)
    unknown = [one.what for one in targets(whole) if one.verdict(whole) == UNKNOWN]
    assert [what for what in unknown if "0x0" not in what] == []
    assert "1,000,000 rows against 1,000" in report.targets_table(whole)


# Report


def test_the_report_tells_every_part(whole: Results) -> None:
    text = report.markdown(whole)
    for heading, _ in report.SECTIONS.values():
        assert f"### {heading}" in text
    assert "Something to know." in text
    assert "placeholders" in text
    whole.about["mode"] = "long"
    assert "placeholders" not in report.markdown(whole)


def test_a_part_alone_can_be_reported() -> None:
    text = report.markdown(made(ours=[1234], theirs=[617]), with_charts=True)
    assert "1,234" in text
    assert "2.00×" in text
    assert "performance/uploads.svg" in text
    assert "### Reads" not in text


def test_tables_are_in_columns() -> None:
    text = report.table(["a", "b"], [["long cell", "x"], ["y", ""]])
    assert len({len(line) for line in text.splitlines()}) == 1
    assert text.splitlines()[2] == "| long cell | x   |"


def test_figures_stand_between_their_markers(whole: Results) -> None:
    page = f"before\n{report.BEGIN}\nstale\n{report.END}\nafter\n"
    once = report.with_figures(page, whole)
    assert "stale" not in once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert report.with_figures(once, whole) == once
    with pytest.raises(ValueError, match="markers"):
        report.with_figures("nothing", whole)


def test_the_page_shows_the_kept_figures() -> None:
    results, page = load(report.KEPT), report.PAGE.read_text()
    assert report.with_figures(page, results) == page
    drawn = drawings.draw(results)
    for name, (_, _, svg) in drawn.items():
        assert (report.CHARTS / f"{name}.svg").read_text() == svg
    assert {path.stem for path in report.CHARTS.glob("*.svg")} == drawn.keys()


def test_the_page_names_every_part() -> None:
    page = report.PAGE.read_text()
    assert all(f"`{part}`" in page for part in PARTS)
    assert set(PARTS) == set(report.SECTIONS)


# Charts


def test_charts_are_well_formed_and_in_proportion() -> None:
    groups = [("group", [charts.Bar(label="a", value=50), charts.Bar(label="b", value=100)])]
    svg = charts.bars("title", "note", groups, "{:.0f}".format)
    root = ElementTree.fromstring(svg)
    _, short, long = root.findall(".//{*}rect")
    assert float(long.attrib["width"]) == 2 * float(short.attrib["width"]) == charts.FULL
    box = [float(one) for one in root.attrib["viewBox"].split()]
    for text in root.findall(".//{*}text"):
        assert 0 < float(text.attrib["x"]) < box[2]
        assert 0 < float(text.attrib["y"]) < box[3]


def test_charts_escape_what_they_show() -> None:
    groups = [(HOSTILE, [charts.Bar(label=HOSTILE, value=0)])]
    svg = charts.bars(HOSTILE, HOSTILE, groups, lambda value: HOSTILE)
    texts = [one.text for one in ElementTree.fromstring(svg).findall(".//{*}text")]
    assert texts.count(HOSTILE) == 5


def test_charts_without_a_bar() -> None:
    ElementTree.fromstring(charts.bars("title", "note", [], str))


def test_charts_have_a_light_and_a_dark_side(whole: Results) -> None:
    for _, _, svg in drawings.draw(whole).values():
        style = ElementTree.fromstring(svg).findtext("{*}style") or ""
        light, _, dark = style.partition("prefers-color-scheme:dark")
        used = set(re.findall(r'class="(\w+)"', svg)) - {"title", "group", "number"}
        for name in used:
            assert f".{name}{{" in light
            assert f".{name}{{" in dark


# Disk and rows


def test_files_are_put_aside_and_not_deleted(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"content")
    inode = kept.stat().st_ino
    put_aside([str(kept), str(tmp_path / "gone meanwhile")], tmp_path / "aside/1")
    assert [path.name for path in tmp_path.iterdir()] == ["aside"]
    aside = (tmp_path / "aside/1/kept").stat()
    assert (aside.st_size, aside.st_ino) == (0, inode)


def test_a_spread_folder_is_an_ordinary_one_elsewhere(tmp_path: Path) -> None:
    (make_spread(tmp_path / "a/b") / "file").write_text("x")
    assert (tmp_path / "a/b/file").read_text() == "x"


def test_made_rows_are_as_if_uploaded(tmp_path: Path) -> None:
    """Totals, triggers and indexes are as they would be after so many uploads."""
    server = Server(tmp_path)
    server.session.close()
    migrated = server.flask("migrate")
    assert migrated.returncode == 0, migrated.stderr
    columns = (
        "username, username_key, password_hash, role, is_banned, is_deleting, token_nonce,"
        " token_hash, file_count, bytes, created"
    )
    alice = "'alice', 'alice', '-', 'user', 0, 0, '', '', 0, 0, 1"
    kept = "select type, name, sql from sqlite_master order by 1, 2"
    with closing(sqlite3.connect(tmp_path / "kissa.db", isolation_level=None)) as database:
        before = database.execute(kept).fetchall()
        database.execute(f"insert into user ({columns}) values ({alice})")
    rows.fill(tmp_path / "kissa.db", "alice", 1000)
    assert server.rows(kept) == before
    checked = server.flask("check")
    assert "total" not in checked.stdout, checked.stdout
    assert "1000" in checked.stdout, checked.stdout


# The parts of the command line


def test_an_unknown_part_is_told() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench.run", "nonsense"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "nonsense is none of uploads" in ran.stderr
