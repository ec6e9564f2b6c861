"""The sweep: what it takes, what it spares, and what a crash left half done."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import accounts
import items
import models
import upkeep
from models import Comment, Item, Tag, User
from storage_local import LocalStorage
from tests.conftest import PNG, Clock, Kissa, Person

ORPHAN, HELD, UNFINISHED = "orphan1.png", "h" * 32, "u" * 32
FOREIGN = [
    "READ ME.txt", ".gitkeep", ".htaccess", "a.b", "notes.txt~", "UPPER12.PNG", "album/abcdefg.png",
    ".incoming/notes.txt", ".pending/short", ".thumbnails/abcdefg.png", "abcdefg.png.part.x.y",
]  # fmt: skip


@pytest.fixture
def store(kissa: Kissa) -> LocalStorage:
    return kissa.folder


@pytest.fixture
def name(kissa: Kissa, alice: Person) -> str:
    """A file with a row."""
    return kissa.upload_name(alice)


def litter(store: LocalStorage) -> None:
    """One file of each kind that has no row."""
    for path in (ORPHAN, f".pending/{HELD}", f".incoming/{UNFINISHED}"):
        (store.directory / path).write_bytes(b"left behind")


def pass_hours(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    then = time.time() + hours * 3600
    monkeypatch.setattr(upkeep.time, "time", lambda: then)


def test_looking_changes_nothing(kissa: Kissa, store: LocalStorage, name: str) -> None:
    litter(store)
    before = kissa.files()
    found = upkeep.look(store, young=True)
    assert sorted(found.orphans) == [("pending", HELD), ("public", ORPHAN)]
    assert found.temporary == [UNFINISHED]
    assert (found.files, found.lost, found.held_back) == (3, [], None)
    assert kissa.files() == before


def test_removing(kissa: Kissa, store: LocalStorage, name: str) -> None:
    litter(store)
    assert upkeep.remove(store, upkeep.look(store, young=True)) == 3
    assert kissa.files() == {name}
    assert upkeep.remove(store, upkeep.look(store, young=True)) == 0


@pytest.mark.parametrize(
    ("hours", "removed"),
    [pytest.param(0.0, 0, id="now"), pytest.param(0.99, 0, id="just-under-an-hour"),
     pytest.param(1.01, 3, id="just-over-an-hour")],
)  # fmt: skip
def test_only_what_is_older_than_an_hour(
    store: LocalStorage, name: str, monkeypatch: pytest.MonkeyPatch, hours: float, removed: int
) -> None:
    litter(store)
    pass_hours(monkeypatch, hours)
    assert upkeep.remove(store, upkeep.look(store)) == removed


def test_an_old_date_makes_no_file_old(store: LocalStorage, name: str) -> None:
    litter(store)
    for path in (ORPHAN, f".pending/{HELD}", f".incoming/{UNFINISHED}"):
        os.utime(store.directory / path, (0, 0))
    found = upkeep.look(store)
    assert (found.orphans, found.temporary) == ([], [])


def test_foreign_names_are_not_touched(kissa: Kissa, store: LocalStorage, name: str) -> None:
    for path in FOREIGN:
        (store.directory / path).parent.mkdir(exist_ok=True)
        (store.directory / path).write_bytes(b"mine")
    (store.directory / "symlink").symlink_to("/etc/passwd")
    (store.directory / "folder1").mkdir()
    assert upkeep.remove(store, upkeep.look(store, young=True), force=True) == 0
    assert kissa.files() >= {*FOREIGN, name}
    assert (store.directory / "symlink").is_symlink()
    assert (store.directory / "folder1").is_dir()


def test_a_file_that_got_its_row_meanwhile_stays(
    kissa: Kissa, alice: Person, store: LocalStorage, name: str
) -> None:
    later = kissa.upload_name(alice)
    found = upkeep.Sweep(
        orphans=[("public", later)], temporary=[], thumbnails=[], files=2, lost=[], held_back=None
    )
    assert upkeep.remove(store, found) == 0
    assert kissa.get(f"/f/{later}").data == PNG


def test_a_rejected_item_owns_no_file(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval="true")
    admin = kissa.person("admin", admin=True)
    item_id = kissa.item_id(admin)
    kissa.post(f"/api/v2/queue/{item_id}/reject", admin.by_admin_token)
    item = Item.get_by_id(item_id)
    (kissa.uploads / item.name).write_bytes(b"back after a power cut")
    found = upkeep.look(kissa.services.storage, young=True)
    assert (found.orphans, found.lost) == ([("public", item.name)], [])


def test_waiting_bytes_are_no_orphans(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval="true")
    alice = kissa.person("alice")
    kissa.item_id(alice)
    found = upkeep.look(kissa.services.storage, young=True)
    assert (found.orphans, found.lost, found.files) == ([], [], 1)


# Guards


@pytest.mark.parametrize("what", ["orphans", "unfinished"])
def test_a_database_without_items_removes_nothing(
    kissa: Kissa, alice: Person, store: LocalStorage, what: str
) -> None:
    path = store.directory / (ORPHAN if what == "orphans" else f".incoming/{UNFINISHED}")
    path.write_bytes(b"of another database")
    found = upkeep.look(store, young=True)
    assert "no upload at all" in str(found.held_back)
    assert upkeep.remove(store, found) == 0
    assert path.exists()
    assert upkeep.remove(store, found, force=True) == 1
    assert kissa.files() == set()


def make_files(store: LocalStorage, prefix: str, count: int) -> None:
    for number in range(count):
        (store.directory / f"{prefix}{number:07}").touch()


@pytest.mark.parametrize(
    ("orphans", "held"), [pytest.param(1000, False, id="1000"), pytest.param(1001, True, id="1001")]
)
def test_very_many_files_are_taken_for_a_mistake(
    kissa: Kissa, store: LocalStorage, name: str, orphans: int, held: bool
) -> None:
    make_files(store, "orphan", orphans)
    found = upkeep.look(store, young=True, rows=False)
    assert len(found.orphans) == orphans
    assert bool(found.held_back) == held
    assert upkeep.remove(store, found) == (0 if held else orphans)
    if held:
        assert len(kissa.files()) == orphans + 1
        assert upkeep.remove(store, found, force=True) == orphans
    assert kissa.files() == {name}


def test_very_many_of_a_hundred_times_more_are_none(name: str) -> None:
    assert upkeep._held_back(1001, 0, 100_100) is None
    assert upkeep._held_back(1001, 0, 100_099) is not None


# Rows without a file


def test_a_row_without_its_file_is_told_and_deleted_again(
    kissa: Kissa, alice: Person, store: LocalStorage, name: str
) -> None:
    (store.directory / name).unlink()
    found = upkeep.look(store, young=True)
    assert found.lost == [name]
    assert upkeep.remove(store, found) == 0
    assert kissa.get(f"/f/{name}").status_code == 404
    assert kissa.post("/api/files/list", alice.by_token).get_json() == [name]
    answer = kissa.post("/api/files/delete", alice.by_token | {"file": name})
    assert (answer.status_code, answer.text) == (200, f"{name} has been deleted!")
    assert upkeep.look(store, young=True).lost == []


# What was cut short


def test_an_approval_cut_short_is_undone(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval="true")
    admin = kissa.person("admin", admin=True)
    item_id = kissa.item_id(admin)
    item = Item.get_by_id(item_id)
    store = kissa.services.storage
    store.release(str(item.pending_name), item.name)  # and then the server was killed
    assert kissa.get(f"/f/{item.name}").status_code == 200
    upkeep.tidy(store)
    assert kissa.get(f"/f/{item.name}").status_code == 404
    assert kissa.files() == {f".pending/{item.pending_name}"}
    store.release(str(item.pending_name), item.name)
    store.delete_pending(str(item.pending_name))  # as a filesystem without links leaves it
    assert items.undo_releases(store) == 1
    assert kissa.files() == {f".pending/{item.pending_name}"}
    answer = kissa.post(f"/api/v2/queue/{item_id}/approve", admin.by_admin_token)
    assert answer.status_code == 200
    assert kissa.files() == {item.name}
    assert items.undo_releases(store) == 0


@pytest.mark.parametrize("unlinked", [0, 1, 3], ids=["nothing", "one-file", "all-files"])
def test_an_account_whose_end_was_cut_short(
    kissa: Kissa, alice: Person, bob: Person, store: LocalStorage, unlinked: int
) -> None:
    names = [kissa.upload_name(alice) for _ in range(2)]
    item_id = kissa.item_id(alice, comment="mine", tags="only hers, her own, hers")
    kept = kissa.upload_name(bob)
    names.append(Item.get_by_id(item_id).name)
    mark = User.update(is_deleting=True).where(User.username == "alice")
    models.write(mark.execute)
    for name in names[:unlinked]:
        (store.directory / name).unlink()
    assert kissa.post("/api/token/valid", alice.by_token).status_code == 401
    assert kissa.upload(alice).status_code == 401
    assert accounts.finish_deletions(store) == 1
    assert kissa.files() == {kept}
    assert {user.username for user in User.select()} == {"bob"}
    assert [item.name for item in Item.select()] == [kept]
    assert Comment.select().count() == Tag.select().count() == 0
    assert accounts.finish_deletions(store) == 0


def test_rejected_rows_go_after_thirty_days(start: Callable[..., Kissa], clock: Clock) -> None:
    kissa = start(gallery_manual_approval="true")
    admin = kissa.person("admin", admin=True)
    item_id = kissa.item_id(admin)
    kissa.post(f"/api/v2/queue/{item_id}/reject", admin.by_admin_token | {"reason": "blurred"})
    store = kissa.services.storage
    clock.advance(days=30)
    upkeep.tidy(store)
    assert Item.get_by_id(item_id).reason == "blurred"
    clock.moment += timedelta(seconds=1)
    upkeep.tidy(store)
    assert Item.select().count() == Tag.select().count() == 0


def test_the_folder_itself_may_hold_a_great_many(tmp_path: Path) -> None:
    store = LocalStorage(tmp_path / "uploads")
    make_files(store, "name", 3000)
    names = store.list_public()
    next(names)  # one by one, not all at once
    assert sum(1 for _ in names) == 2999
    store.close()
