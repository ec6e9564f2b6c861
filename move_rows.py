"""The rows' part of a move: from the open database into another, as they are, or not at all."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from peewee import BlobField, BooleanField, Database, SqliteDatabase

import home
import models
from models import Counter, Day, Engine, Home

_BATCH = 1000
# Parents before children; where the host is, each database says for itself.
TABLES = [table for table in models.TABLES if table is not Home]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One table: how many rows it has, and the SHA-256 over all of them, the same in whatever
    database."""

    table: str
    rows: int
    sha256: str


class NotEmpty(Exception):
    """There are accounts or uploads in the target."""


class Differs(Exception):
    """What was read back is not what was written; its text names the tables."""


def find_state(engine: Engine) -> str | None:
    """What `home` says in another database, whatever its schema: a state, "used" for a host that
    is there, None where there is neither an account nor an upload."""
    tables = set(engine.handle.get_tables())
    if not tables:
        return None
    if not {"user", "item"} <= tables:
        return "another's"
    found = _run(engine.handle, home.SELECT) if "home" in tables else []
    if found and found[0][0] != home.HERE:
        return str(found[0][0])
    used = 'select exists (select 1 from "user") or exists (select 1 from item)'
    return "used" if _run(engine.handle, used)[0][0] else None


def require_empty(engine: Engine) -> None:
    """See that nothing is lost by filling another database: it is empty, or what is in it has
    been moved away, or was arriving when a move was cut short.

    Raises:
        NotEmpty: it is in use.
    """
    if find_state(engine) not in (None, home.ARRIVING, home.LEFT):
        raise NotEmpty


def copy(engine: Engine) -> list[Summary]:
    """Replace all rows of another database by those of the open one, in which nothing changes.

    Args:
        engine: the other database, with the same schema; its `home` says that rows arrive.

    Returns:
        what was written.

    Raises:
        NotEmpty: somebody began to use it.
    """
    handle = engine.handle
    with engine.exclusive(), handle.atomic():
        triggers = _without_triggers(handle)
        require_empty(engine)
        _empty(handle)
        summaries = [_copy_table(engine, table) for table in TABLES]
        _set_sequences(handle)
        _with_triggers(handle, triggers)
    engine.checkpoint()
    return summaries


def require_same(engine: Engine, written: list[Summary]) -> None:
    """Read everything back.

    Raises:
        Differs: it is not what was written.
    """
    found = [summary(engine.handle, table) for table in TABLES]
    wrong = [a.table for a, b in zip(written, found, strict=True) if a != b]
    if wrong:
        raise Differs(", ".join(wrong))


def write_home(engine: Engine, row: dict[str, Any], *, without_unfinished: bool = False) -> None:
    """Let another database say where the host is.

    Args:
        without_unfinished: whether it forgets uploads in pieces that have not ended.
    """
    with engine.exclusive(), engine.handle.atomic():
        if without_unfinished:
            _run(engine.handle, "delete from resumable where item_id is null")
        _write_home(engine.handle, row)


def summary(handle: Database, table: Any) -> Summary:
    """One table of a database."""
    counted = _Counted(_rows(handle, table))
    for _ in counted:
        pass
    return counted.summary(table)


class _Counted:
    """Rows on their way, counted and hashed."""

    def __init__(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._rows = iter(rows)
        self._count = 0
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for row in self._rows:
            self._count += 1
            self._hash.update(repr(row).encode("utf-8", "surrogatepass"))
            yield row

    def summary(self, table: Any) -> Summary:
        name = table._meta.table_name
        return Summary(table=name, rows=self._count, sha256=self._hash.hexdigest())


def _rows(handle: Database, table: Any) -> Iterator[tuple[Any, ...]]:
    """All rows by their key, with the same values from whatever database. What is in several rows
    to be added up is added up."""
    rows = _pages(handle, table)
    if table is Counter:
        total: dict[str, int] = {}
        for name, value in rows:
            total[name.partition(".")[0]] = total.get(name.partition(".")[0], 0) + value
        return iter(sorted(total.items()))
    return _days(rows) if table is Day else rows


def _days(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for number, shards in groupby(rows, lambda row: row[0]):
        _, _, uploads, sizes = zip(*shards, strict=True)
        yield number, 0, sum(uploads), sum(sizes)


def _pages(handle: Database, table: Any) -> Iterator[tuple[Any, ...]]:
    """Page by page, so that neither memory nor a cursor grows with the table."""
    columns = _columns(table)
    readers = [_reader(field) for field in table._meta.sorted_fields]
    keys = [field.column_name for field in table._meta.get_primary_keys()]
    places = [columns.index(key) for key in keys]
    named, order = _quoted(columns), _quoted(keys)
    head = f'select {named} from "{table._meta.table_name}"'
    tail = f"order by {order} limit {_BATCH}"
    page = _run(handle, f"{head} {tail}")
    more = f"{head} where ({order}) > ({', '.join('?' * len(keys))}) {tail}"
    while page:
        for row in page:
            yield tuple(
                None if value is None else read(value)
                for read, value in zip(readers, row, strict=True)
            )
        if len(page) < _BATCH:
            return
        page = _run(handle, more, [page[-1][place] for place in places])


def _reader(field: Any) -> Any:
    """What makes the same value of what either database gives."""
    if isinstance(field, BooleanField):
        return bool
    return bytes if isinstance(field, BlobField) else lambda value: value


def _copy_table(engine: Engine, table: Any) -> Summary:
    rows = _Counted(_rows(models.database.obj, table))
    name, columns = table._meta.table_name, _columns(table)
    engine.fill(f'"{name}" ({_quoted(columns)})', len(columns), rows)
    return rows.summary(table)


def _empty(handle: Database) -> None:
    names = [table._meta.table_name for table in reversed(TABLES)]
    if isinstance(handle, SqliteDatabase):
        for name in names:
            _run(handle, f'delete from "{name}"')
    else:
        _run(handle, f"truncate {_quoted(names)}")


def _without_triggers(handle: Database) -> list[str]:
    """Take the triggers away, which would count everything twice; on PostgreSQL this also keeps
    everybody else from writing. Returns what makes them anew."""
    if isinstance(handle, SqliteDatabase):
        triggers = _run(handle, "select name, sql from sqlite_master where type = 'trigger'")
        for name, _ in triggers:
            _run(handle, f'drop trigger "{name}"')
        return [sql for _, sql in triggers]
    names = [table._meta.table_name for table in TABLES]
    for name in names:
        _run(handle, f'alter table "{name}" disable trigger user')
    return [f'alter table "{name}" enable trigger user' for name in names]


def _with_triggers(handle: Database, statements: list[str]) -> None:
    for statement in statements:
        _run(handle, statement)


def _set_sequences(handle: Database) -> None:
    """Let ids go on behind the highest that was ever given, so that none is given twice."""
    for table in TABLES:
        key = table._meta.primary_key
        if key is False or not getattr(key, "auto_increment", False):
            continue
        name = table._meta.table_name
        last = max(_last_id(models.database.obj, name), _highest_id(handle, name))
        if isinstance(handle, SqliteDatabase):
            _run(handle, "delete from sqlite_sequence where name = ?", [name])
            _run(handle, "insert into sqlite_sequence (name, seq) values (?, ?)", [name, last])
        else:
            sequence = f"pg_get_serial_sequence('\"{name}\"', 'id')"
            _run(handle, f"select setval({sequence}, ?, ?)", [max(last, 1), last > 0])


def _last_id(handle: Database, name: str) -> int:
    """The highest id that a table ever gave."""
    if isinstance(handle, SqliteDatabase):
        found = _run(handle, "select seq from sqlite_sequence where name = ?", [name])
        return int(found[0][0]) if found else 0
    sequence = _run(handle, f"select pg_get_serial_sequence('\"{name}\"', 'id')")[0][0]
    last, is_called = _run(handle, f"select last_value, is_called from {sequence}")[0]
    return int(last) if is_called else 0


def _highest_id(handle: Database, name: str) -> int:
    return int(_run(handle, f'select coalesce(max(id), 0) from "{name}"')[0][0])


def _write_home(handle: Database, row: dict[str, Any]) -> None:
    table = Home._meta.table_name
    _run(handle, f'delete from "{table}"')
    values = [Home._meta.fields[name].db_value(value) for name, value in row.items()]
    marks = ", ".join("?" * len(values))
    _run(handle, f'insert into "{table}" ({_quoted(row)}) values ({marks})', values)


def _columns(table: Any) -> list[str]:
    return [field.column_name for field in table._meta.sorted_fields]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _run(handle: Database, sql: str, values: Iterable[Any] = ()) -> list[Any]:
    cursor = handle.execute_sql(
        sql if handle.param == "?" else sql.replace("?", "%s"), list(values)
    )
    return cursor.fetchall() if cursor.description else []
