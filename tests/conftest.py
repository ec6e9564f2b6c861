"""A real app on a real SQLite file and a real folder, and the people who use it."""

import dataclasses
import functools
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import accounts
import app as kissa_app
import config as configuration
import context
import keys
import models
from context import Services
from storage_local import LocalStorage
from tests import database

if TYPE_CHECKING:
    from tests.servers.s3 import S3Server

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
    b"\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99="
    b"\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
)
PASSWORD = "correct horse"
ADMIN_KEY = "an admin key of good length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user of the tests, with the credentials that a client would hold."""

    username: str
    password: str
    token: str
    api_key: str
    admin_token: str

    @property
    def by_token(self) -> dict[str, str]:
        return {"token": self.token}

    @property
    def by_key(self) -> dict[str, str]:
        return {"X-Api-Key": self.api_key}

    @property
    def by_admin_token(self) -> dict[str, str]:
        return {"token": self.admin_token}

    @property
    def by_password(self) -> dict[str, str]:
        return {"username": self.username, "password": self.password}


class Kissa:
    """One running app: its services, a client, and short ways to do what users do."""

    def __init__(self, app: Flask, services: Services) -> None:
        self.app = app
        self.services = services
        self.client: FlaskClient = app.test_client()

    @property
    def uploads(self) -> Path:
        return self.services.config.storage.directory

    @property
    def folder(self) -> LocalStorage:
        """The files, where they are in a folder."""
        store = self.services.storage
        assert isinstance(store, LocalStorage)
        return store

    def files(self) -> set[str]:
        """The names of all files in the uploads folder, hidden folders included."""
        found = (path for path in self.uploads.rglob("*") if path.is_file())
        return {str(path.relative_to(self.uploads)) for path in found}

    def content(self, name: str) -> bytes:
        """The bytes of a public file."""
        file = self.services.storage.open_file(name)
        assert file is not None, name
        with file:
            return file.read()

    def post(self, path: str, headers: dict[str, str] | None = None, **more: Any) -> TestResponse:
        return self.client.post(path, headers=headers, **more)

    def get(self, path: str, headers: dict[str, str] | None = None, **more: Any) -> TestResponse:
        # buffered: read whole and closed, as a server does with a file it sends
        return self.client.get(path, headers=headers, buffered=True, **more)

    def person(self, username: str, *, admin: bool = False) -> Person:
        """Make a user with a token, an API key and, as an admin, an admin token."""
        secret = self.services.secret
        if admin:
            user = accounts.create_admin(secret, 4, username, PASSWORD)
        else:
            door = accounts.Door(
                rules=dataclasses.replace(
                    self.services.config.accounts, registration=True, invite_only=False
                ),
                secret=secret,
                places=self.services.places,
                address="127.0.0.1",
            )
            user = accounts.sign_up(door, username, PASSWORD)
        token = accounts.upload_token(secret, user)
        _, key = keys.create_api_key(user, "tests")
        return Person(
            username=username,
            password=PASSWORD,
            token=token,
            api_key=str(key),
            admin_token=accounts.admin_token(secret, user) if admin else "",
        )

    def upload(
        self, person: Person, content: bytes = PNG, name: str = "shot.png", **headers: str
    ) -> TestResponse:
        """An upload by the nekos API."""
        data = {"uploadFile": (io.BytesIO(content), name)}
        return self.post("/api/files/upload", person.by_token | headers, data=data)

    def upload_name(self, person: Person, content: bytes = PNG, name: str = "shot.png") -> str:
        """The stored name of a successful upload by the nekos API."""
        response = self.upload(person, content, name)
        assert response.status_code == 200, response.text
        return str(response.get_json()["url"]).rpartition("/")[2]

    def list_item(
        self, person: Person, content: bytes = PNG, name: str = "cat.png", **fields: str
    ) -> TestResponse:
        """An upload by the f0ckm API, sfw and with three tags unless `fields` says otherwise."""
        data: dict[str, Any] = {"rating": "sfw", "tags": "cat, cute, feline"} | fields
        data["file"] = (io.BytesIO(content), name)
        return self.post("/api/v2/upload", person.by_key, data=data)

    def item_id(self, person: Person, **fields: Any) -> int:
        """The id of a successful upload by the f0ckm API."""
        response = self.list_item(person, **fields)
        assert response.status_code == 200, response.text
        return int(response.get_json()["itemid"])


class Clock:
    """The one replaced thing: a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **by: float) -> None:
        self.moment += timedelta(**by)


@functools.cache
def shared_app() -> Flask:
    """The one app of this process, which `start` gives the services of each test: to make it
    anew compiles every route and template again, half of the time of most tests."""
    return kissa_app.create_app()


@pytest.fixture
def fresh_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated, empty database: where every database that `start` opens is from."""
    if request.config.getoption("--database") == "postgresql":
        return str(request.getfixturevalue("emptied")())
    database.make(tmp_path / "kissa.db")
    return f"sqlite:///{tmp_path / 'kissa.db'}"


@pytest.fixture
def start(fresh_database: str, tmp_path: Path) -> Iterator[Callable[..., Kissa]]:
    """Start an app with configuration keys as `section_key=value`; ended with the test. A test
    that starts again goes on with its database and files, and what it has of before is stale."""
    app = shared_app()
    running: list[Services] = []

    def end() -> None:
        if running:
            del app.extensions["kissa"]
            context.close_services(running.pop())

    def begin(**keys: object) -> Kissa:
        defaults: dict[str, object] = {
            "accounts_bcrypt_cost": 4,
            "database_url": fresh_database,
            "database_state": tmp_path / "kissa",
            "storage_directory": tmp_path / "uploads",
            "site_url": "http://kissa.example/",
        }
        environ = {f"KISSA_{key.upper()}": str(value) for key, value in (defaults | keys).items()}
        (tmp_path / "config.ini").touch()
        environ["KISSA_CONFIG"] = str(tmp_path / "config.ini")
        end()
        services = context.open_services(configuration.load(environ=environ))
        running.append(services)
        context.attach(app, services)
        if "database_url" in keys:  # one of the test's own
            models.migrate()
        return Kissa(app, services)

    yield begin
    end()


@pytest.fixture
def kissa(start: Callable[..., Kissa]) -> Kissa:
    """An app at its defaults, but for bcrypt's cost."""
    return start()


@pytest.fixture
def alice(kissa: Kissa) -> Person:
    return kissa.person("alice")


@pytest.fixture
def bob(kissa: Kissa) -> Person:
    return kissa.person("bob")


@pytest.fixture
def admin(kissa: Kissa) -> Person:
    return kissa.person("admin", admin=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the service's clock."""
    clock = Clock()
    monkeypatch.setattr(models, "now", clock)
    return clock


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator["S3Server"]:
    """Ceph, a distributed S3 server, on this machine."""
    from tests.servers.ceph import Ceph

    yield from _serving(Ceph(tmp_path_factory.mktemp("ceph")))


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator["S3Server"]:
    """rclone's small S3 server."""
    from tests.servers.rclone import Rclone

    yield from _serving(Rclone(tmp_path_factory.mktemp("rclone")))


def _serving(server: "S3Server") -> Iterator["S3Server"]:
    try:
        server.begin()
        yield server
    finally:
        server.end()
