"""Backup and restore: whole, or as if they had never begun."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import archive
import backup
import lock
import models
import restore
import start
from archive import BackupError
from tests.installation import Installation

ROOT = Path(__file__).resolve().parent.parent


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture
def kissa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation with an account and three files: 'unlisted', 'listed', and a waiting one."""
    (tmp_path / "kissa").mkdir()
    kissa = Installation(tmp_path / "kissa", monkeypatch).make()
    alice = kissa.person("alice")
    kissa.person("root", admin=True)
    for state in ("unlisted", "listed", "pending"):
        kissa.upload(alice, state.encode(), state)
    return kissa


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """Another filesystem."""
    folder = tmp_path / "tmpfs"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def make(kissa: Installation, target: Path, **more: Any) -> backup.Made:
    with kissa.opened() as store:
        return backup.backup(kissa.config, store, target, quiet, **more)


def bring_back(kissa: Installation, source: Path, **more: Any) -> restore.Restored:
    return restore.restore(kissa.config, source, quiet, **more)


def file_of(kissa: Installation, state: str) -> str:
    ((name, waiting),) = kissa.rows("select name, pending_name from item where state = ?", state)
    return str(waiting or name)


def destroy(kissa: Installation) -> None:
    for path in kissa.folder.iterdir():
        if path != kissa.file:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_there_and_back(kissa: Installation, backups: Path) -> None:
    before = kissa.state()
    told = kissa.does("backup", str(backups / "one"))
    assert "2 users, 3 files of 21 B" in told
    assert "3 files linked, 0 reused, 0 copied" in told
    assert "is whole" in kissa.does("backup", "--verify", str(backups / "one"))
    assert (backups / "one").stat().st_mode & 0o777 == 0o700
    for name in ("kissa.db", "kissa.secret", "manifest.json"):
        assert (backups / "one" / name).stat().st_mode & 0o777 == 0o600
    destroy(kissa)
    told = kissa.does("restore", str(backups / "one"))
    assert "3 uploads of 21 B, 3 files: all fine." in told
    assert kissa.state() == before
    assert "all fine" in kissa.does("check", "--hash")
    assert (kissa.folder / "kissa.secret").stat().st_mode & 0o777 == 0o600
    archive.verify(backups / "one", quiet)  # working with it does not change the backup
    kissa.person("bob")
    archive.verify(backups / "one", quiet)


def test_as_json(kissa: Installation, backups: Path) -> None:
    found = json.loads(kissa.does("backup", str(backups / "one"), "--json"))
    assert found["counts"] == {"users": 2, "files": 2, "pending": 1, "bytes": 21}
    assert (found["linked"], found["copied"], found["deleted"], found["lost"]) == (3, 0, 0, [])
    found = json.loads(kissa.does("backup", str(backups / "one"), "--verify", "--json"))
    assert found["counts"]["files"] == 2


def test_another_filesystem(kissa: Installation, tmpfs: Path) -> None:
    before = kissa.state()
    first = make(kissa, tmpfs / "one")
    assert (first.linked, first.reused, first.copied, first.copied_bytes) == (0, 0, 3, 21)
    kissa.upload(1, b"new")
    second = make(kissa, tmpfs / "two")
    assert (second.linked, second.reused, second.copied, second.copied_bytes) == (0, 3, 1, 3)
    name = file_of(kissa, "listed")
    assert (tmpfs / "one/uploads" / name).samefile(tmpfs / "two/uploads" / name)
    time = kissa.path(name).stat().st_mtime_ns
    shutil.rmtree(tmpfs / "one")  # each is whole without the other
    third = make(kissa, tmpfs / "three")
    assert third.reused == 4
    shutil.rmtree(tmpfs / "two")
    kissa.rows("select 1")
    destroy(kissa)
    done = bring_back(kissa, tmpfs / "three")
    assert (done.linked, done.copied) == (0, 4)
    assert kissa.path(name).stat().st_mtime_ns == time
    assert kissa.path(name).stat().st_mode & 0o777 == 0o644
    assert before.items() - kissa.state().items() == {
        (key, before[key]) for key in ("user", "item", "counter")
    }
    assert "all fine" in kissa.does("check", "--hash")


def test_a_full_disk_leaves_nothing(kissa: Installation, tmpfs: Path) -> None:
    kissa.upload(1, os.urandom(20 * 1024 * 1024))
    line = kissa.refuses("backup", str(tmpfs / "one"))
    assert "No space left" in line
    assert list(tmpfs.iterdir()) == []


def test_a_damaged_earlier_backup_gives_nothing(kissa: Installation, tmpfs: Path) -> None:
    make(kissa, tmpfs / "one")
    name = file_of(kissa, "listed")
    (tmpfs / "one/uploads" / name).write_bytes(b"cut")
    made = make(kissa, tmpfs / "two")
    assert (made.reused, made.copied) == (2, 1)
    archive.verify(tmpfs / "two", quiet)
    (tmpfs / "two/manifest.json").write_text("{")
    assert make(kissa, tmpfs / "three").reused == 2  # of the first, which is readable


@pytest.mark.parametrize("state", ["unlisted", "listed", "pending"])
def test_deleted_meanwhile(
    kissa: Installation, backups: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file goes after the database was copied, and so does its row."""
    name = file_of(kissa, state)
    copy = backup._copy_database

    def copy_then_delete(path: Path) -> None:
        copy(path)
        kissa.path(name, pending=state == "pending").unlink()
        item = models.Item.state == state
        models.write(lambda: models.Item.delete().where(item).execute())

    monkeypatch.setattr(backup, "_copy_database", copy_then_delete)
    made = make(kissa, backups / "one")
    assert (made.deleted, made.lost, made.linked) == (1, [], 2)
    after = kissa.state()
    destroy(kissa)
    bring_back(kissa, backups / "one")
    assert kissa.state() == after
    assert "all fine" in kissa.does("check", "--hash")


def test_approved_meanwhile(
    kissa: Installation, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kissa.state()
    waiting = file_of(kissa, "pending")
    ((name,),) = kissa.rows("select name from item where state = 'pending'")
    copy = backup._copy_database

    def copy_then_approve(path: Path) -> None:
        copy(path)
        kissa.path(waiting, pending=True).rename(kissa.path(name))
        listed = models.Item.update(state="listed", pending_name=None)
        models.write(lambda: listed.where(models.Item.name == name).execute())

    monkeypatch.setattr(backup, "_copy_database", copy_then_approve)
    assert make(kissa, backups / "one").linked == 3
    destroy(kissa)
    bring_back(kissa, backups / "one")
    assert kissa.state() == before  # it waits again


def test_files_without_a_row_are_not_copied(kissa: Installation, backups: Path) -> None:
    kissa.path("orphan1.png").write_bytes(b"x")
    make(kissa, backups / "one")
    assert not (backups / "one/uploads/orphan1.png").exists()


def test_lost_and_damaged_files_are_told(kissa: Installation, backups: Path) -> None:
    lost, damaged = file_of(kissa, "listed"), file_of(kissa, "unlisted")
    kissa.path(lost).unlink()
    kissa.path(damaged).write_bytes(b"another size")
    result = kissa.run("backup", str(backups / "one"))
    assert result.exit_code == 0
    assert sorted(line.partition(":")[0] for line in result.stderr.splitlines()) == sorted(
        [lost, damaged]
    )
    assert archive.verify(backups / "one", quiet).damaged == [damaged]
    assert (backups / "one/uploads" / damaged).read_bytes() == b"another size"


def test_a_wrong_uploads_folder_is_no_backup(kissa: Installation, backups: Path) -> None:
    for number in range(backup.SPARED):
        kissa.upload(1, b"%d" % number)
    for path in kissa.uploads.glob("*.png"):
        path.unlink()
    line = kissa.refuses("backup", str(backups / "one"))
    assert "12 of 13 files are missing" in line
    assert list(backups.iterdir()) == []
    assert kissa.run("backup", str(backups / "one"), "--force").exit_code == 0


def test_another_secret_is_no_backup(kissa: Installation, backups: Path) -> None:
    (kissa.folder / "kissa.secret").write_bytes(b"x" * 32)
    assert "does not belong" in kissa.refuses("backup", str(backups / "one"))
    (kissa.folder / "kissa.secret").unlink()
    assert "secret is missing" in kissa.refuses("backup", str(backups / "one"))
    assert list(backups.iterdir()) == []


@pytest.mark.parametrize(
    ("target", "told"),
    [
        pytest.param("taken", "something already", id="taken"),
        pytest.param("no/such/folder", "no such folder", id="no-parent"),
        pytest.param("x.partial", "not finished", id="ending"),
        pytest.param("../kissa/uploads/backup", "public", id="in-uploads"),
        pytest.param("link", "something already", id="broken-link"),
    ],
)
def test_targets_that_cannot_be(kissa: Installation, backups: Path, target: str, told: str) -> None:
    (backups / "taken").mkdir()
    (backups / "link").symlink_to("nowhere")
    assert told in kissa.refuses("backup", str(backups / target))
    assert sorted(path.name for path in backups.iterdir()) == ["link", "taken"]


def change_manifest(**changes: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def some(folder: Path) -> Path:
    return min((folder / "uploads").glob("*.png"))


def swap(folder: Path) -> None:
    one, two = sorted((folder / "uploads").glob("*.png"))[:2]
    one.write_bytes(two.read_bytes()[:1] * one.stat().st_size)


def point_elsewhere(folder: Path) -> None:
    path = some(folder)
    path.unlink()
    path.symlink_to("/etc/passwd")


DAMAGE = [
    pytest.param(lambda f: (f / "manifest.json").unlink(), "no backup can be read", id="manifest"),
    pytest.param(lambda f: (f / "manifest.json").write_text("{}"), "damaged", id="empty-manifest"),
    pytest.param(lambda f: (f / "manifest.json").write_text("[1"), "damaged", id="cut-manifest"),
    pytest.param(change_manifest(version=2), "newer Kissa", id="newer"),
    pytest.param(change_manifest(counts={}), "damaged", id="counts"),
    pytest.param(
        change_manifest(files={"../../etc": {"size": 1, "sha256": "0" * 64}}), "damaged", id="path"
    ),
    pytest.param(lambda f: (f / "kissa.db").unlink(), "kissa.db: missing", id="database"),
    pytest.param(
        lambda f: os.truncate(f / "kissa.db", 4096), "kissa.db: 4096 bytes", id="cut-database"
    ),
    pytest.param(
        lambda f: (f / "kissa.secret").write_bytes(b"x" * 32), "bytes are wrong", id="secret"
    ),
    pytest.param(lambda f: some(f).unlink(), "missing", id="file"),
    pytest.param(lambda f: some(f).write_bytes(b"longer than before"), "instead of", id="size"),
    pytest.param(swap, "bytes are wrong", id="bytes"),
    pytest.param(
        lambda f: (f / "uploads/foreign.png").touch(), "does not know this file", id="foreign"
    ),
    pytest.param(
        lambda f: next((f / "uploads/.pending").iterdir()).unlink(), "missing", id="waiting"
    ),
    pytest.param(point_elsewhere, "cannot be read", id="symlink"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGE)
def test_damage_is_found_and_nothing_touched(
    kissa: Installation, backups: Path, damage: Callable[[Path], object], told: str
) -> None:
    target = backups / "one"
    make(kissa, target)
    for path in list((target / "uploads").rglob("*")):  # its own inodes, not the server's
        if path.is_file():
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
    archive.verify(target, quiet)
    damage(target)
    before = kissa.state()
    for command in (["backup", "--verify"], ["restore", "--force"]):
        result = kissa.run(*command, str(target))
        assert (result.exit_code, result.stdout) == (1, "")
        assert told in result.stderr
    assert kissa.state() == before
    assert not list(kissa.folder.glob("*.restor*"))


def test_a_database_that_is_not_of_this_manifest(kissa: Installation, backups: Path) -> None:
    make(kissa, backups / "one")
    kissa.upload(1, b"more")
    make(kissa, backups / "two")
    shutil.copy(backups / "two/kissa.db", backups / "one/kissa.db")
    manifest = archive.read_manifest(backups / "one")
    manifest.database = archive.read_manifest(backups / "two").database
    (backups / "one/manifest.json").unlink()
    archive.write_manifest(backups / "one", manifest)
    with pytest.raises(BackupError, match="in the database, and not in the manifest"):
        archive.verify(backups / "one", quiet)


def test_restore_asks_before_it_moves_things_aside(kissa: Installation, backups: Path) -> None:
    make(kissa, backups / "one")
    kissa.upload(1, b"later")
    later = kissa.state()
    assert "there are uploads; --force" in kissa.refuses("restore", str(backups / "one"))
    assert kissa.state() == later
    done = bring_back(kissa, backups / "one", force=True)
    assert len(kissa.rows("select 1 from item")) == 3
    aside = kissa.uploads / done.aside
    assert len(list(aside.glob("*.png"))) == 3
    assert len(list((aside / ".pending").iterdir())) == 1
    again = bring_back(kissa, backups / "one", force=True)
    assert again.aside != done.aside
    destroyed = kissa.database
    destroyed.unlink()
    shutil.copy(f"{kissa.database}{done.aside}", kissa.database)
    assert len(kissa.rows("select 1 from item")) == 4


def test_restore_into_a_fresh_installation(kissa: Installation, backups: Path) -> None:
    make(kissa, backups / "one")
    before = kissa.state()
    destroy(kissa)
    kissa.does("migrate")
    kissa.does("restore", str(backups / "one"))
    assert kissa.state() == before


@pytest.mark.parametrize("kind", ["server", "commands"])
def test_restore_refuses_beside_others(kissa: Installation, backups: Path, kind: str) -> None:
    make(kissa, backups / "one")
    before = kissa.state()
    held = lock.take(kissa.database, kind=kind)
    try:
        assert "is at work" in kissa.refuses("restore", str(backups / "one"), "--force")
    finally:
        os.close(held)
    assert kissa.state() == before


def test_commands_refuse_beside_a_restore(kissa: Installation) -> None:
    held = lock.take(kissa.database, kind="commands")
    try:
        assert "a restore is at work" in kissa.refuses("users")
    finally:
        os.close(held)


# Cut short at each step


class Killed(BaseException):
    """What nobody catches."""


class Death:
    """From the n-th change of the filesystem on, every one of them fails: nothing can be tidied."""

    CALLS = ("rename", "link", "mkdir", "unlink", "rmdir", "fsync", "open", "fchmod")

    def __init__(self, number: int) -> None:
        self.left = number

    def __enter__(self) -> "Death":
        self.real = {name: getattr(os, name) for name in self.CALLS}
        for name in self.CALLS:
            setattr(os, name, self.dying(self.real[name]))
        return self

    def dying(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **more: Any) -> Any:
            self.left -= 1
            if self.left <= 0:
                raise Killed
            return call(*args, **more)

        return act

    def __exit__(self, *_: object) -> None:
        for name, call in self.real.items():
            setattr(os, name, call)


def test_backup_killed_at_each_step(kissa: Installation, backups: Path) -> None:
    before = kissa.state()
    number, kills = 0, 0
    with kissa.opened() as store:
        while True:
            number += 1
            target = backups / str(number)
            try:
                with Death(number):
                    backup.backup(kissa.config, store, target, quiet)
            except Killed:
                kills += 1
            else:
                break
            if target.exists():  # after the rename: whole
                archive.verify(target, quiet)
    assert not list(backups.glob("*.partial/" + archive.UNFINISHED))
    made = [path for path in backups.iterdir() if not path.name.endswith(".partial")]
    for path in made:
        archive.verify(path, quiet)
    for path in backups.glob("*.partial"):  # killed before the marker
        assert list(path.iterdir()) == []
        make(kissa, backups / path.stem)
    assert kissa.state() == before
    print(f"kills={kills} whole={len(made)}")
    assert kills > 20


@pytest.mark.parametrize("way", ["start", "restore", "command"])
def test_restore_killed_at_each_step(
    kissa: Installation, backups: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    make(kissa, backups / "one")
    old = kissa.state()
    kissa.upload(1, b"later")
    later = kissa.state()
    number, undone, finished = 0, 0, 0
    while True:
        number += 1
        shutil.copytree(kissa.folder, tmp_path / str(number))
        again = Installation(tmp_path / str(number), monkeypatch)
        try:
            with Death(number):
                bring_back(again, backups / "one", force=True)
        except Killed:
            pass
        else:
            break
        if way == "start":
            os.close(start.prepare(again.config).lock)
        elif way == "command":
            again.run("users")
        else:
            with pytest.raises(BackupError, match="--force"):
                bring_back(again, backups / "one")
        state = again.state()
        assert state in (old, later)
        undone, finished = undone + (state == later), finished + (state == old)
        assert not list(again.folder.glob("*.restor*"))
        assert not (again.uploads / ".restored").exists()
        if state == old:
            (aside,) = again.uploads.glob(".before-restore-*")
            assert len(list(aside.glob("*.png"))) == 3
            assert len(list(again.folder.glob("kissa.*.before-restore-*"))) >= 2
    archive.verify(backups / "one", quiet)
    print(f"kills={number - 1} undone={undone} finished={finished}")
    assert undone > 10
    assert finished > 10


def test_finishing_may_be_killed_too(kissa: Installation, backups: Path) -> None:
    make(kissa, backups / "one")
    old = kissa.state()
    kissa.upload(1, b"later")
    places = restore._Places(kissa.config)
    manifest = archive.verify(backups / "one", quiet)
    restore._lay_ready(places, backups / "one", manifest, quiet)
    restore._write_journal(places, "aside", "20261121T120000Z")
    kills = 0
    while True:
        try:
            with Death(kills + 1):
                restore.recover(kissa.config)
        except Killed:
            kills += 1
        else:
            break
    assert kills > 10
    assert kissa.state() == old
    assert len(list((kissa.uploads / ".before-restore-20261121T120000Z").glob("*.png"))) == 3


@pytest.mark.parametrize(
    ("act", "call", "number"),
    [
        pytest.param("backup", "link", 2, id="backup-files"),
        pytest.param("backup", "rename", 1, id="backup-end"),
        pytest.param("restore", "link", 2, id="restore-files"),
        pytest.param("restore", "rename", 3, id="restore-aside"),
        pytest.param("restore", "rename", 10, id="restore-in"),
    ],
)
def test_killed_for_real(
    kissa: Installation, backups: Path, act: str, call: str, number: int
) -> None:
    make(kissa, backups / "one")
    old = kissa.state()
    kissa.upload(1, b"later")
    later = kissa.state()
    program = f"""
import itertools, os, signal, sys
real, left = os.{call}, itertools.count({number}, -1)
def dying(*args, **more):
    if next(left) <= 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **more)
os.{call} = dying
import app
app.create_app().cli(sys.argv[1:])
"""
    command = {"backup": ["backup", str(backups / "two")]}.get(
        act, ["restore", "--force", str(backups / "one")]
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        cwd=ROOT,
        env={**os.environ, "FLASK_APP": "app"},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    if act == "backup":
        assert (backups / "two.partial").exists()
        assert not (backups / "two").exists()
        make(kissa, backups / "three")
        assert sorted(path.name for path in backups.iterdir()) == ["one", "three"]
        return
    result = kissa.run("check", "--hash")
    assert result.exit_code == 0
    assert "a restore that was cut short is" in result.stderr
    assert kissa.state() == (later if call == "link" else old)


def test_two_backups_at_once(kissa: Installation, backups: Path) -> None:
    with kissa.opened(), backup._unfinished(backups / "one") as partial:
        (partial / "kissa.db").touch()
        with pytest.raises(BackupError, match="another backup"):
            make(kissa, backups / "one")
    with kissa.opened(), backup._unfinished(backups / "two") as partial:
        make(kissa, backups / "three")  # beside it, and it is left alone
        assert partial.exists()


def test_what_is_in_the_way_is_not_removed(kissa: Installation, backups: Path) -> None:
    (backups / "one.partial").mkdir()
    (backups / "one.partial/mine").touch()
    assert "in the way" in kissa.refuses("backup", str(backups / "one"))
    assert (backups / "one.partial/mine").exists()
