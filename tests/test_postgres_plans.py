"""With many rows PostgreSQL answers every hot statement by an index, and sorts no list."""

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import psycopg
import pytest
from peewee import SQL as RawSQL

import gallery
import models
import shelf
from gallery import Filter
from models import Item, ItemTag, Tag, User
from tests.conftest import Kissa, Person
from tests.people import Browser

pytestmark = pytest.mark.postgresql
MANY = 40_000  # items: a scan of them costs several times what is allowed below
MOST = 800.0  # of PostgreSQL's units of cost, a page read in order being 1; a scan costs 3,000
LARGE = {"item", "item_tag", "comment", "album_item", "expired"}

FILL = f"""
set session_replication_role = replica;
insert into "user" (username, username_key, password_hash, role, is_banned, is_deleting,
                    token_nonce, token_hash, file_count, bytes, created)
    select 'user' || n, 'user' || n, '', 'user', false, false, '', sha256(n::text::bytea), 0, 0, 0
    from generate_series(3, 100) as n;
insert into item (user_id, name, original_name, size, sha256, state, rating, is_oc, is_shitpost,
                  deletion_hash, created)
    select 1 + n % 100, 'name' || n || '.png', 'cat ' || n % 977 || '.png', n * 7919 % 100000,
        sha256(n::text::bytea), case n % 4 when 0 then 'listed' else 'unlisted' end,
        case n % 4 when 0 then case n % 8 when 0 then 'nsfw' else 'sfw' end end, false, false, '',
        1700000000000 + n
    from generate_series(1, {MANY}) as n;
insert into tag (name) select 'tag' || n from generate_series(1, 500) as n;
insert into item_tag (tag_id, item_id)
    select distinct 1 + (id / 4 * k * 31) % 500, id
    from item, generate_series(1, 3) as k where state = 'listed';
insert into comment (item_id, user_id, text, created)
    select id, 1, 'text', created from item where state = 'listed';
set session_replication_role = origin;
analyze;
"""


class Collector(logging.Handler):
    """The statements that Peewee runs, with their values."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        sql, values = cast(tuple[str, Any], record.msg)
        if sql.split()[0].lower() in ("select", "insert", "update", "delete"):
            self.found.append((sql, values))


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector, logger = Collector(), logging.getLogger("peewee")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(collector)
    yield collector
    logger.removeHandler(collector)
    logger.setLevel(level)


def faults(sql: str, values: Any) -> list[str]:
    """What would take long with ever more rows: a scan or sort of many, or simply the cost."""
    connection = models.database.obj.connection()
    ((plan,),) = connection.execute(f"explain (format json) {sql}", values or ()).fetchall()
    top = plan[0]["Plan"]
    found = [f"cost {top['Total Cost']}"] if top["Total Cost"] > MOST else []

    def walk(node: dict[str, Any]) -> None:
        kind = node["Node Type"]
        if kind == "Seq Scan" and node["Relation Name"] in LARGE:
            found.append(f"scan of {node['Relation Name']}")
        if kind == "Merge Join":  # begins at the newest of all, however far down the page is
            found.append("merge of two lists")
        if kind == "Sort" and node["Plan Rows"] > 500:
            found.append(f"sort of {node['Plan Rows']} rows")
        for part in node.get("Plans", ()):
            walk(part)

    walk(top)
    return [f"{fault}: {sql} {values}" for fault in found]


@pytest.fixture
def full(start: Callable[..., Kissa]) -> tuple[Kissa, Person, Person]:
    kissa = start(gallery_min_tags=1, storage_durable="false")
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    with psycopg.connect(models.database.obj.connection().info.dsn, autocommit=True) as other:
        other.execute(FILL)
    return kissa, alice, admin


def test_no_hot_statement_scans_or_sorts(
    full: tuple[Kissa, Person, Person], collector: Collector
) -> None:
    kissa, alice, _ = full
    home, desk = Browser(kissa, "alice"), Browser(kissa, "admin")
    middle = MANY // 2
    api, pages = "/api/v2/items", ("", f"before={middle}")
    filters = ("", "rating=sfw", "rating=nsfw", "rating=all", "user=alice", "tag=tag7")
    for query in (*filters, "tag=tag7&tag=tag14", "user=alice&tag=tag7"):
        for page in pages:
            assert kissa.get(f"{api}?{query}&{page}").status_code == 200
            assert kissa.get(f"/?{query}&{page}").status_code == 200
    for path in (f"/{middle}", f"/{middle}?tag=tag7", f"{api}/{middle}", "/tags?q=tag"):
        assert home.get(path).status_code in (200, 404), path
    for order in shelf.ORDERS:
        assert home.get(f"/files?sort={order}").status_code == 200
    for path in ("/api/files", "/api/info", "/api/user/files"):
        kissa.get(path, alice.by_token)
    for path in ("/admin", "/admin/queue", "/admin/uploads", f"/admin/uploads?before={middle}"):
        assert desk.get(path).status_code == 200
    name = kissa.upload_name(alice)
    assert kissa.list_item(alice).status_code == 200
    assert kissa.post("/api/files/delete", alice.by_token | {"file": name}).status_code == 200
    collector.found, found = [], collector.found
    assert len(found) > 100
    told = sorted({fault for sql, values in found for fault in faults(sql, values)})
    assert told == [], "\n".join(told)


@pytest.mark.parametrize("order", shelf.ORDERS)
def test_a_later_page_of_my_files_begins_where_the_one_before_ended(
    full: tuple[Kissa, Person, Person], collector: Collector, order: str
) -> None:
    user = User.get(User.username == "alice")
    page = shelf.list_page(user, order=order, search="", after="")
    for _ in range(3):
        page = shelf.list_page(user, order=order, search="", after=page.after or "")
    collector.found, found = [], collector.found
    (sql, values), *_ = [one for one in reversed(found) if "original_name" in one[0]]
    plan = " ".join(
        row[0] for row in models.database.obj.connection().execute(f"explain {sql}", values)
    )
    assert re.search(r"Index Scan (Backward )?using item_user_(id|size|named) on item", plan), plan
    assert "Seq Scan" not in plan
    assert Item.select().count() == MANY


def test_of_two_tags_one_is_read_and_the_other_looked_up(
    full: tuple[Kissa, Person, Person], collector: Collector
) -> None:
    """A join may begin with any of them, or read both whole."""
    common, rare = "common", "tag7"
    common_id = Tag.create(name=common).id
    listed = Item.select(RawSQL(str(common_id)), Item.id).where(models.LISTED)
    ItemTag.insert_from(listed, [ItemTag.tag, ItemTag.item]).execute()
    models.database.execute_sql("analyze item_tag")
    for tags in ((common, rare), (rare, common)):
        collector.found = []
        assert gallery.list_gallery(Filter(tags=tags, ratings=None)).items
        *_, (sql, values) = collector.found
        lines = models.database.obj.connection().execute(f"explain {sql}", values).fetchall()
        plan = "\n".join(line for (line,) in lines)
        assert plan.count("using item_tag_pkey") == 2, plan
        assert not re.search(r"Hash Join|Merge Join|Sort|Seq Scan on item", plan), plan


def test_a_list_is_planned_with_its_values_however_often_it_is_asked(
    full: tuple[Kissa, Person, Person],
) -> None:
    """Without them PostgreSQL takes all tags for equally rare, and all pages for long."""
    for _ in range(20):
        gallery.list_gallery(Filter(tags=("tag7",)))
    asked = "select sum(generic_plans), sum(custom_plans) from pg_prepared_statements"
    generic, custom = models.database.execute_sql(asked).fetchone()
    assert generic == 0
    assert custom > 20
