"""flask check, stats, sweep --json and config: what they find and how they say it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import check
import models
from tests.installation import Installation


@pytest.fixture
def kissa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setattr(check, "NGINX", (str(tmp_path / "sites"), "kissa*"))
    return Installation(tmp_path, monkeypatch).make()


@pytest.fixture
def name(kissa: Installation) -> str:
    """The file of a healthy installation with three of them."""
    alice = kissa.person("alice")
    kissa.upload(alice, b"waiting", "pending")
    kissa.upload(alice, b"listed", "listed")
    return kissa.upload(alice, b"content")


def spoil_row(statement: str) -> Callable[[Installation, str], None]:
    def spoil(kissa: Installation, name: str) -> None:
        with kissa.opened():
            models.write(lambda: models.database.execute_sql(statement))

    return spoil


def orphan(kissa: Installation, name: str) -> None:
    kissa.upload(1, b"an orphan to be")
    with kissa.opened():
        last = models.Item.select().order_by(models.Item.id.desc()).first()
        models.write(lambda: last.delete_instance())


def test_all_fine(kissa: Installation, name: str) -> None:
    for options in ([], ["--hash"]):
        assert kissa.does("check", *options) == "3 uploads of 20 B, 3 files: all fine.\n"
    found = json.loads(kissa.does("check", "--json"))
    assert (found["fine"], found["items"], found["files"]) == (True, 3, 3)


@pytest.mark.parametrize(
    ("kind", "spoil", "told"),
    [
        pytest.param("lost", lambda k, n: k.path(n).unlink(), "without its file: ", id="lost"),
        pytest.param(
            "sizes", lambda k, n: k.path(n).write_bytes(b"short"), "wrong size: ", id="size"
        ),
        pytest.param(
            "wrong", lambda k, n: k.path(n).write_bytes(b"CONTENT"), "wrong bytes: ", id="bytes"
        ),
        pytest.param(
            "totals",
            spoil_row("update user set bytes = bytes + 1"),
            "wrong totals: user #1 counts 3 files of 21 bytes instead of 3 of 20",
            id="user-total",
        ),
        pytest.param(
            "totals",
            spoil_row("update counter set value = 7"),
            "wrong totals: 7 public files instead of 2",
            id="total",
        ),
    ],
)
def test_faults(
    kissa: Installation,
    name: str,
    kind: str,
    spoil: Callable[[Installation, str], None],
    told: str,
) -> None:
    spoil(kissa, name)
    result = kissa.run("check", "--hash")
    assert result.exit_code == 1
    line, total = result.stdout.splitlines()
    assert told in line
    assert total.endswith("1 faults.")
    result = kissa.run("check", "--hash", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert not found["fine"]
    assert len(found[kind]) == 1


def test_wrong_bytes_take_hash(kissa: Installation, name: str) -> None:
    kissa.path(name).write_bytes(b"CONTENT")
    assert "all fine" in kissa.does("check")


def test_orphans(kissa: Installation, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    orphan(kissa, name)
    assert "all fine" in kissa.does("check")  # it is young: an upload might be under way
    monkeypatch.setattr(check.upkeep, "AGE", -1)
    result = kissa.run("check", "--json")
    assert [entry["where"] for entry in json.loads(result.stdout)["orphans"]] == ["public"]
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("client_max_body_size 101m;", None, id="fits"),
        pytest.param("location / { client_max_body_size 1k; }\nclient_max_body_size 101M;", None,
                     id="largest"),
        pytest.param("client_max_body_size 105906176;", None, id="bytes"),
        pytest.param("client_max_body_size 100m;", "100m refuses uploads", id="small"),
        pytest.param("client_max_body_size 2g;", "2048m lets larger bodies in", id="large"),
        pytest.param("client_max_body_size 0;", "lets any body in", id="none"),
        pytest.param("server {}", "not set, so it is 1m", id="default"),
        pytest.param("# client_max_body_size 101m;", "not set, so it is 1m", id="comment"),
    ],
)  # fmt: skip
def test_nginx(kissa: Installation, text: str, told: str | None) -> None:
    path = kissa.folder / "sites" / "kissa.conf"
    path.parent.mkdir()
    path.write_text(text)
    for options in ([], ["--nginx", str(path)]):
        result = kissa.run("check", *options)
        assert result.exit_code == (1 if told else 0)
        if told:
            line = result.stdout.splitlines()[0]
            assert line.startswith(f"{path}: client_max_body_size")
            assert told in line
            assert line.endswith("; max_size_mb = 100 needs 101m")


def test_nginx_file_that_is_not_there(kissa: Installation) -> None:
    assert "does not exist" in kissa.refuses("check", "--nginx", "/nowhere", status=2)


def test_stats(kissa: Installation, name: str) -> None:
    found = json.loads(kissa.does("stats", "--json"))
    assert found["users"] == 1
    assert found["items"] == {"unlisted": 1, "listed": 1, "pending": 1, "rejected": 0}
    assert found["bytes"] == 20
    assert found["disk_free"] > 0
    assert found["database"] >= kissa.database.stat().st_size
    assert found["newest_upload"].endswith("Z")
    told = kissa.does("stats")
    assert "1 unlisted, 1 listed, 1 pending, 0 rejected" in told
    assert found["newest_upload"] in told


def test_stats_of_nothing(kissa: Installation) -> None:
    assert json.loads(kissa.does("stats", "--json"))["newest_upload"] is None
    assert "none" in kissa.does("stats")


def test_sweep_as_json(kissa: Installation, name: str) -> None:
    kissa.path(name).unlink()
    orphan(kissa, name)
    found = json.loads(kissa.does("sweep", "--young", "--json"))
    assert [entry["where"] for entry in found["orphans"]] == ["public"]
    assert (found["lost"], found["removed"], found["held_back"]) == ([name], 0, None)
    assert json.loads(kissa.does("sweep", "--young", "--apply", "--json"))["removed"] == 1


def test_config_check(kissa: Installation) -> None:
    assert kissa.does("config", "check") == "fine\n"
    kissa.configure("bind = nowhere\n[uploads]\nname_length = 99\n[site]\nurl = ftp://x\n")
    result = kissa.run("config", "check")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 3


def test_config_check_of_folders(kissa: Installation) -> None:
    kissa.configure(f"[storage]\ndirectory = {kissa.file}\n")
    assert "expected to be able to write" in kissa.refuses("config", "check")


def test_config_show(kissa: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISSA_UPLOADS_BLOCKED_EXTENSIONS", "exe bat")
    kissa.configure("admin_key = 0123456789abcdef\nadmin_registration = on\n")
    told = kissa.does("config", "show")
    assert "0123456789abcdef" not in told
    lines = told.splitlines()
    assert "site.name = Kissa  (default)" in lines
    assert f"accounts.admin_key = (hidden)  ({kissa.file})" in lines
    assert f"accounts.admin_registration = true  ({kissa.file})" in lines
    assert "uploads.blocked_extensions = bat, exe  (KISSA_UPLOADS_BLOCKED_EXTENSIONS)" in lines
    found = json.loads(kissa.does("config", "show", "--json"))
    assert found["uploads.max_size_mb"] == {"value": 100, "source": "default"}
    assert len(found) == len(lines)
    assert os.fspath(kissa.folder) in found["storage.directory"]["value"]
