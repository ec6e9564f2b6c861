"""The arithmetic, the rows and the page of the benchmark of several servers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

import models
from bench import many_rows, row_times, scaling, scaling_report, trips
from bench.results import Results, load
from tests.postgres import Cluster

ROOT = Path(__file__).parent.parent


def test_the_page_shows_the_kept_figures() -> None:
    results, page = load(scaling_report.KEPT), scaling_report.PAGE.read_text()
    assert scaling_report.with_figures(page, results) == page
    drawn = scaling_report.draw(results)
    for name, (_, _, svg) in drawn.items():
        assert (scaling_report.CHARTS / f"{name}.svg").read_text() == svg
        assert f"scaling/{name}.svg" in page
    assert {path.stem for path in scaling_report.CHARTS.glob("*.svg")} == drawn.keys()


def test_the_page_names_every_part() -> None:
    page = scaling_report.PAGE.read_text()
    assert all(f"`{part}`" in page for part in scaling.PARTS)
    assert set(scaling.PARTS) == set(scaling_report.SECTIONS)
    assert set(scaling_report.SECTIONS) <= load(scaling_report.KEPT).figures.keys()


def test_a_page_without_markers_is_left_alone() -> None:
    with pytest.raises(ValueError, match="markers"):
        scaling_report.with_figures("nothing", load(scaling_report.KEPT))


def test_an_unknown_part_is_told() -> None:
    command = [sys.executable, "-m", "bench.scaling", "nonsense"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "nonsense is none of rows" in ran.stderr


def test_times_are_summed_up() -> None:
    raw, results = Results({}), Results({})
    for value in range(1, 201):
        raw.add("rows", "a list", "rows 10", float(value))
    for used in (3.0, 1.0, 2.0):
        raw.add("rows", "a list", "cpu rows 10", used)
    row_times.summed_up(raw, "rows", results)
    found = results.figures["rows"]["a list"]
    assert found == {"p50 rows 10": [100.5], "p99 rows 10": [198.0], "cpu rows 10": [2.0]}


def test_round_trips_are_turns_from_us_to_the_server() -> None:
    line = "2026-01-01 00:00:00.000000\t{}\t10\tMessage"
    senders = ["F", "F", "B", "B", "F", "B", "F"]
    assert trips.turns("\n".join(line.format(one) for one in senders)) == 2
    assert trips.turns("") == 0


@pytest.mark.postgresql
def test_made_rows_are_as_if_uploaded(postgresql: Cluster) -> None:
    """Totals, triggers and indexes are as they would be after so many uploads."""
    url = postgresql.create("many_rows")
    models.open_database(url)
    try:
        models.migrate()
        fields = {"password_hash": "", "token_nonce": b"", "token_hash": b"x"}
        models.User.create(username="alice", username_key="alice", **fields)
    finally:
        models.close_database()
    kept = (
        "select indexdef from pg_indexes where schemaname = 'public' order by 1",
        "select pg_get_triggerdef(oid), tgenabled from pg_trigger order by 1",
    )
    with psycopg.connect(url) as connection:

        def ask(sql: Any) -> list[Any]:
            return connection.execute(sql).fetchall()

        before = [ask(one) for one in kept]
        many_rows.fill(url, "alice", 3000)
        assert [ask(one) for one in kept] == before
        assert ask("select count(*), count(distinct name) from item") == [(3000, 3000)]
        assert ask("select sum(value) from counter") == [(3000,)]
        assert ask("select sum(uploads), sum(bytes) from day") == ask(
            "select count(*), sum(size) from item"
        )
        assert ask('select sum(file_count), sum(bytes) from "user"') == ask(
            "select count(*), sum(size) from item"
        )
        assert ask("select count(*) from item where user_id = 1") == [(300,)]
        for table in many_rows.LARGE:
            assert ask(f"select count(*) > 100 from {table}") == [(True,)]
        assert ask(
            "select count(*) from item_tag where tag_id not in (select id from tag)"
            " or item_id not in (select id from item where state = 'listed')"
        ) == [(0,)]
