"""The operator's commands about people."""

import json
from pathlib import Path

import pytest

import accounts
import credentials
import keys
import models
from models import User
from tests.conftest import PASSWORD
from tests.installation import Installation

NEW = "another horse"


@pytest.fixture
def kissa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    return Installation(tmp_path, monkeypatch).make()


@pytest.fixture
def root(kissa: Installation) -> int:
    return kissa.person("root", admin=True)


@pytest.fixture
def alice(kissa: Installation, root: int) -> int:
    return kissa.person("alice")


def get(kissa: Installation, name: str) -> User:
    with kissa.opened():
        return accounts.get_user(name)


def secret(kissa: Installation) -> bytes:
    return credentials.load_secret(kissa.folder / "kissa.secret")


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["set-password", "nobody"], id="set-password"),
        pytest.param(["role", "nobody", "admin"], id="role"),
        pytest.param(["quota", "nobody", "5"], id="quota"),
        pytest.param(["ban", "nobody"], id="ban"),
        pytest.param(["unban", "nobody"], id="unban"),
        pytest.param(["token-reset", "nobody"], id="token-reset"),
        pytest.param(["ban", "../../etc"], id="odd-name"),
    ],
)
def test_nobody(kissa: Installation, root: int, command: list[str]) -> None:
    line = kissa.refuses(*command, stdin=f"{NEW}\n")
    assert line == "There is no user of this name.\n"
    assert kissa.audit() == []


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["role", "ROOT", "user"], id="role"),
        pytest.param(["ban", "root"], id="ban"),
    ],
)
def test_the_last_admin_stays(kissa: Installation, alice: int, command: list[str]) -> None:
    assert "last admin" in kissa.refuses(*command)
    assert get(kissa, "root").role == "admin"
    assert kissa.audit() == []


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["role", "alice", "king"], id="role"),
        pytest.param(["quota", "alice", "much"], id="quota-word"),
        pytest.param(["quota", "alice", "1.5"], id="quota-part"),
        pytest.param(["quota", "alice", "１"], id="quota-script"),
        pytest.param(["quota", "alice", "9999999999"], id="quota-large"),
        pytest.param(["quota", "alice"], id="quota-missing"),
        pytest.param(["users", "alice"], id="too-many"),
        pytest.param(["ban"], id="no-name"),
    ],
)
def test_wrong_usage_is_2(kissa: Installation, alice: int, command: list[str]) -> None:
    assert "Usage:" in kissa.refuses(*command, status=2)


def test_create_admin_is_written_down(kissa: Installation) -> None:
    assert kissa.does("create-admin", "root", stdin=f"{PASSWORD}\n") == "root is an admin now.\n"
    assert kissa.audit() == [(None, "create admin", "#1")]


def test_set_password(kissa: Installation, alice: int) -> None:
    before = get(kissa, "alice")
    told = kissa.does("set-password", "ALICE", stdin=f"{NEW}\n")
    assert told == "alice has another password now.\n"
    after = get(kissa, "alice")
    assert credentials.verify_password(NEW, after.password_hash, 4)
    assert (after.token_hash, after.role) == (before.token_hash, before.role)
    assert kissa.audit() == [(None, "set password", f"#{alice}")]


@pytest.mark.parametrize("password", ["", "short", " blank first", "x" * 257])
def test_bad_password(kissa: Installation, alice: int, password: str) -> None:
    before = get(kissa, "alice").password_hash
    assert "password must" in kissa.refuses("set-password", "alice", stdin=f"{password}\n")
    assert get(kissa, "alice").password_hash == before


def test_role_there_and_back(kissa: Installation, alice: int) -> None:
    assert kissa.does("role", "alice", "admin") == "alice is an admin now.\n"
    user = get(kissa, "alice")
    with kissa.opened():
        found = accounts.find_by_admin_token(accounts.admin_token(secret(kissa), user))
        assert found is not None
        assert found.id == alice
    assert kissa.does("role", "alice", "admin") == "alice is an admin already.\n"
    assert get(kissa, "alice").admin_token_hash == user.admin_token_hash
    assert kissa.does("role", "root", "user") == "root is a plain user now.\n"
    assert get(kissa, "root").admin_token_hash is None
    assert [act for _, act, _ in kissa.audit()] == ["make admin", "make user"]


@pytest.mark.parametrize(
    ("given", "kept", "told"),
    [
        pytest.param("5", 5, "a quota of 5 MB", id="number"),
        pytest.param("none", 0, "no quota", id="none"),
        pytest.param("default", None, "the host's quota", id="default"),
    ],
)
def test_quota(kissa: Installation, alice: int, given: str, kept: object, told: str) -> None:
    kissa.does("quota", "alice", "7")
    assert kissa.does("quota", "alice", given) == f"alice has {told} now.\n"
    assert get(kissa, "alice").quota_mb == kept
    assert len(kissa.audit()) == 2


def test_ban_and_unban(kissa: Installation, alice: int) -> None:
    assert kissa.does("ban", "alice") == "alice is banned now.\n"
    assert get(kissa, "alice").is_banned
    assert kissa.does("unban", "alice") == "alice is no longer banned.\n"
    assert not get(kissa, "alice").is_banned
    assert kissa.audit() == [(None, "ban", f"#{alice}"), (None, "unban", f"#{alice}")]


@pytest.mark.parametrize("of_admin", [False, True], ids=["upload", "admin"])
def test_token_reset(kissa: Installation, alice: int, of_admin: bool) -> None:
    find = accounts.find_by_admin_token if of_admin else accounts.find_by_token
    derive = accounts.admin_token if of_admin else accounts.upload_token
    option = ["--admin"] if of_admin else []
    old = derive(secret(kissa), get(kissa, "root"))
    told = kissa.does("token-reset", "root", *option)
    new = derive(secret(kissa), get(kissa, "root"))
    assert new not in told
    with kissa.opened():
        assert find(old) is None
        assert find(new) is not None
    shown = kissa.does("token-reset", "root", "--show", *option).strip()
    assert shown == derive(secret(kissa), get(kissa, "root"))
    assert len(kissa.audit()) == 2


def test_no_admin_token_for_others(kissa: Installation, alice: int) -> None:
    assert kissa.refuses("token-reset", "alice", "--admin") == "alice is no admin.\n"
    assert get(kissa, "alice").role == "user"


def test_who_lost_the_role_renews_no_admin_token(kissa: Installation, alice: int) -> None:
    kissa.does("role", "alice", "admin")
    stale = get(kissa, "alice")
    kissa.does("role", "alice", "user")
    with kissa.opened(), pytest.raises(accounts.Unauthorized):
        accounts.renew_admin_token(secret(kissa), stale)
    assert get(kissa, "alice").role == "user"


def test_users(kissa: Installation, alice: int) -> None:
    kissa.upload(alice, b"x" * 2048)
    kissa.does("quota", "alice", "5")
    kissa.does("ban", "alice")
    people = json.loads(kissa.does("users", "--json"))
    assert [person["name"] for person in people] == ["root", "alice"]
    created = people[1].pop("created")
    assert created.endswith("Z")
    assert people[1] == {
        "name": "alice",
        "role": "user",
        "state": "banned",
        "files": 1,
        "bytes": 2048,
        "quota_mb": 5,
        "quota": 5 * 1024**2,
    }
    head, _, row = kissa.does("users").splitlines()
    assert head.split() == ["name", "role", "state", "files", "stored", "quota", "created"]
    assert row.split() == ["alice", "user", "banned", "1", "2.0", "KB", "5.0", "MB", created[:10]]


def test_invite(kissa: Installation) -> None:
    kissa.configure("invite_only = true\n[site]\nurl = https://kissa.example/up\n")
    key, link = kissa.does("invite").splitlines()
    assert link == f"https://kissa.example/up/signup?key={key}"
    with kissa.opened():
        assert keys.is_open_registration_key(key)
        assert models.RegistrationKey.get().maker is None


def test_invite_without_need(kissa: Installation) -> None:
    result = kissa.run("invite")
    assert result.exit_code == 0
    assert "invite_only is off" in result.stderr
    assert len(result.stdout.splitlines()) == 2
