"""A database with very many rows, made with SQL: several users, tags, a third of them listed."""

import fcntl
import sqlite3
import time
from contextlib import closing
from pathlib import Path

USERS, TAGS, TAGS_EACH = 20, 2000, 3
MEASURED = 0.3  # the share of the rows that belongs to the user who is measured
SPAN = 2 * 365 * 24 * 3600 * 1000  # milliseconds over which the uploads are spread

PEOPLE = """
insert into user (username, username_key, password_hash, role, is_banned, is_deleting, token_nonce,
    token_hash, file_count, bytes, created)
with recursive number(n) as (select 1 union all select n + 1 from number where n < :users)
select 'user' || n, 'user' || n, '-', 'user', 0, 0, randomblob(16), randomblob(32), 0, 0, :now
from number
"""

# The names are different for n below 2**28: the factor is odd.
ITEMS = """
insert into item (user_id, name, original_name, size, sha256, state, rating, is_oc, is_shitpost,
    deletion_hash, created)
with recursive number(n) as (select 1 union all select n + 1 from number where n < :rows)
select
    case when n % 10 < 10 * :measured then :user else
        (select min(id) from user where username = 'user1') + abs(random()) % :users end,
    printf('%07x', n * 2654435761 % 268435456) || case n % 5 when 0 then '.mp4' else '.png' end,
    'Screenshot ' || n || '.png',
    1000 + abs(random()) % 2000000,
    randomblob(32),
    case when n % 3 = 0 then 'listed' else 'unlisted' end,
    case when n % 3 = 0 then case n % 8 when 0 then 'nsfw' when 1 then 'nsfl' else 'sfw' end end,
    n % 7 = 0, 0, randomblob(32),
    :now - :span + n * (:span / :rows)
from number
"""

WORDS = """
insert into tag (name)
with recursive number(n) as (select 1 union all select n + 1 from number where n < :tags)
select 'tag' || n from number
"""

# The first is common; of the others some are, and most are rare.
COMMON = """
insert into item_tag (tag_id, item_id)
select (select min(id) from tag), id from item where state = 'listed' and id % 2 = 0 order by 2
"""
TAGGED = """
insert or ignore into item_tag (tag_id, item_id)
with recursive number(n) as (select 1 union all select n + 1 from number where n < :each)
select (select min(id) from tag) + (abs(random()) % :tags) * (abs(random()) % :tags) / :tags, id
from item, number where state = 'listed' order by 1, 2
"""

TOTALS = (
    """update user set (file_count, bytes) =
        (select count(*), coalesce(sum(size), 0) from item where user_id = user.id)""",
    "update counter set value = (select count(*) from item) where name = 'files'",
    "delete from day",
    """insert into day (number, shard, uploads, bytes)
        select created / 86400000, 0, count(*), sum(size) from item group by 1""",
)


def fill(path: Path, user: str, rows: int) -> None:
    """Add `rows` items to a migrated database, part of them `user`'s, beside a server that rests.

    Triggers and indexes are taken out meanwhile: it is far quicker, and the same in the end.
    """
    with (
        Path(f"{path}.lock").open("ab") as lock,
        closing(sqlite3.connect(path, isolation_level=None)) as database,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)  # as every writer of this database does
        database.execute("pragma synchronous=off")
        database.execute("pragma cache_size=-262144")
        (measured,) = database.execute("select id from user where username = ?", (user,)).fetchone()
        values = {
            "rows": rows,
            "user": measured,
            "users": USERS,
            "measured": MEASURED,
            "tags": TAGS,
            "each": TAGS_EACH,
            "span": SPAN,
            "now": int(time.time() * 1000),
        }
        database.execute("begin immediate")
        taken = database.execute(
            "select type, name, sql from sqlite_master where sql is not null"
            " and (type = 'trigger' or type = 'index' and tbl_name in ('item', 'item_tag'))"
        ).fetchall()
        for kind, name, _ in taken:
            database.execute(f'drop {kind} "{name}"')
        for statement in (PEOPLE, ITEMS, WORDS, COMMON, TAGGED, *TOTALS):
            database.execute(statement, values)
        for _, _, sql in taken:
            database.execute(sql)
        database.execute("commit")
        database.execute("pragma wal_checkpoint(truncate)")


def one_listed(path: Path) -> int:
    """The id of a listed item half-way down the gallery."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        (found,) = database.execute(
            "select id from item where state = 'listed' and rating = 'sfw' and name like '%.png'"
            " and id > (select max(id) / 2 from item) order by id limit 1"
        ).fetchone()
    return int(found)
