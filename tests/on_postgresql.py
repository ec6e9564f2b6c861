"""A pytest plugin: `--database postgresql` runs each test of an app on PostgreSQL instead.

Tests that open no database, and those marked `sqlite` (about SQLite itself; or slow, and about a
child, a parser or memory, not about the database) are left out of that run: they have nothing else
to say there. Those about PostgreSQL (marked `postgresql`) are left out of the other.
"""

from collections.abc import Callable, Iterator

import psycopg
import pytest

import models
from tests import postgres


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=("sqlite", "postgresql"), default="sqlite")


def pytest_configure(config: pytest.Config) -> None:
    # A server's threads live as long as it does; those that tests start leave a connection each.
    line = "ignore:.*was deleted while still open:ResourceWarning"
    config.addinivalue_line("filterwarnings", line)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = config.getoption("--database")
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        about = {mark.name for mark in item.iter_markers()} & {"sqlite", "postgresql"}
        has_app = "fresh_database" in getattr(item, "fixturenames", ())
        belongs = here in about if about else here == "sqlite" or has_app
        (kept if belongs else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Cluster]:
    """A cluster of this process's own."""
    if postgres.find_programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.cluster() as running:
        yield running


@pytest.fixture(scope="session")
def emptied(postgresql: postgres.Cluster) -> Iterator[Callable[[], str]]:
    """A function that empties one migrated database, and returns its URL."""
    url = postgresql.create("tests")
    models.open_database(url)
    models.migrate()
    models.close_database()
    empty = ";".join(
        [
            "set session_replication_role = replica",  # without triggers, which keep the audit
            *(f'delete from "{table._meta.table_name}"' for table in models.TABLES),
            "insert into counter (name, value) values ('files', 0)",
            "set session_replication_role = origin",
        ]
    )
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute("select oid::regclass from pg_class where relkind = 'S'")
        # `alter sequence ... restart` would make a new file for each.
        restart = ";".join(f"select setval('{name}', 1, false)" for (name,) in rows.fetchall())

        def reset() -> str:
            connection.execute(f"{empty};{restart}")
            return url

        yield reset
