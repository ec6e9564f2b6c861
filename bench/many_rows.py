"""A PostgreSQL database with very many rows, made in the server with SQL.

Triggers, foreign keys and indexes are out meanwhile: it is far quicker, and the same in the end.
"""

import time

import psycopg

LARGE = ("item", "item_tag", "comment")
OWN = 10  # every so manieth item belongs to the user who is measured
PEOPLE = 100  # items for each user
TAGS = 10_000  # of them some are common, and most are rare: the n-th tag is on about 1/n of all
SPAN = 2 * 365 * 24 * 3600 * 1000  # milliseconds over which the uploads are spread

# The names are different for n below 2**28: the factor is odd. So they are in no order, as random
# ones are not. sha256() stands for random bytes.
STATEMENTS = (
    """
insert into "user" (username, username_key, password_hash, role, is_banned, is_deleting,
    token_nonce, token_hash, file_count, bytes, created)
select 'user' || n, 'user' || n, '-', 'user', false, false, '', sha256(('user' || n)::bytea), 0, 0,
    %(now)s - %(span)s
from generate_series(1, greatest(%(rows)s / %(people)s, 20)) as n
""",
    """
insert into item (user_id, name, original_name, size, sha256, state, rating, is_oc, is_shitpost,
    deletion_hash, created)
select
    case when n %% %(own)s = 0 then %(user)s
        else 1 + %(last)s + floor(power(random(), 3) * greatest(%(rows)s / %(people)s, 20))::bigint
        end,
    lpad(to_hex(n * 2654435761 %% 268435456), 7, '0') || case n %% 5 when 0 then '.mp4'
        else '.png' end,
    case n %% 3 when 0 then 'Screenshot ' || n || '.png' else 'IMG_' || n %% 100000 || '.png' end,
    1000 + floor(random() * 2000000)::bigint,
    sha256(n::text::bytea),
    case when n %% 3 = 0 then 'listed' else 'unlisted' end,
    case when n %% 3 = 0 then case n %% 8 when 0 then 'nsfw' when 1 then 'nsfl' else 'sfw' end end,
    n %% 7 = 0, false, sha256(('d' || n)::bytea),
    %(now)s - %(span)s + n * (%(span)s / %(rows)s)
from generate_series(1, %(rows)s::bigint) as n
""",
    "insert into tag (name) select 'tag' || n from generate_series(1, %(tags)s) as n",
    """
insert into item_tag (tag_id, item_id)
select distinct 1 + floor(power(%(tags)s, random()) - 1)::bigint, id
from item, generate_series(1, 4) where state = 'listed'
""",
    """
insert into comment (item_id, user_id, text, created)
select id, user_id, 'A word about this one, and then a few more of them.', created
from item where state = 'listed' and id %% 4 = 0
""",
    """
update "user" set (file_count, bytes) = (of_user.number, of_user.size)
from (select user_id, count(*) as number, sum(size) as size from item group by 1) as of_user
where of_user.user_id = "user".id
""",
    """
insert into counter (name, value) select 'files.0', count(*) from item
on conflict (name) do update set value = excluded.value
""",
    "delete from day",
    """
insert into day (number, shard, uploads, bytes)
select created / 86400000, 0, count(*), sum(size) from item group by 1
""",
)


def fill(url: str, username: str, rows: int) -> None:
    """Add `rows` items to a migrated database without any, a tenth of them `username`'s, with
    users, tags and comments in proportion."""
    with psycopg.connect(url) as connection:
        run = connection.execute
        found = run('select id from "user" where username_key = %s', (username,)).fetchone()
        last = run('select max(id) from "user"').fetchone()
        assert found is not None, username
        assert last is not None
        values = {
            "rows": rows,
            "user": found[0],
            "last": last[0],
            "people": PEOPLE,
            "own": OWN,
            "tags": TAGS,
            "span": SPAN,
            "now": int(time.time() * 1000),
        }
        run("set session_replication_role = replica")
        run("set maintenance_work_mem = '1GB'")
        run("set work_mem = '512MB'")
        indexes = run(
            "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index"
            " where indrelid = any(%s::regclass[]) and not exists"
            " (select from pg_constraint where conindid = indexrelid)",
            ([f'"{name}"' for name in LARGE],),
        ).fetchall()
        for name, _ in indexes:
            run(f"drop index {name}")
        for statement in STATEMENTS:
            run(statement.encode(), values)
        for _, definition in indexes:
            run(definition.encode())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("vacuum (analyze, freeze)")
        connection.execute("checkpoint")
