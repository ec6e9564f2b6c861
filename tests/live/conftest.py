"""A real gunicorn on a free port, with its own folder, started and ended by its own process id."""

import http.client
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

import config as configuration
import credentials
from storage_local import LocalStorage
from tests.conftest import ADMIN_KEY, PASSWORD, Person
from tests.database import make as make_database
from tests.live.wire import Wire

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent  # not resolved: the virtualenv's own
GUNICORN = [str(BIN / "gunicorn"), "-c", "deploy/gunicorn.conf.py", "app:create_app()"]
PATIENCE = 30.0  # seconds after which something that should happen counts as not happening
TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [A-Z]+ /")


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Poll `condition` until it is true; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def free_port() -> int:
    """A port that nothing uses, below those that the kernel gives to clients: one of them could
    otherwise take it while the server is down."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Server:
    """One server on a folder of its own.

    Args:
        folder: configuration, database, uploads and log lie here.
        keys: configuration, as `section_key=value`.
    """

    def __init__(self, folder: Path, **keys: object) -> None:
        self.folder = folder
        self.before: list[str] = []  # a command that is given gunicorn's as its last arguments
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.uploads = folder / "uploads"
        self.log_path = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy of the machine's
        self.configure(**keys)

    def configure(self, **keys: object) -> None:
        """Write config.ini anew; it is read at the next start."""
        defaults = {
            "site_url": self.url,
            "server_bind": f"127.0.0.1:{self.port}",
            "accounts_bcrypt_cost": 4,
        }
        sections: dict[str, list[str]] = {}
        for key, value in (defaults | keys).items():
            section, _, name = key.partition("_")
            sections.setdefault(section, []).append(f"{name} = {value}\n")
        text = "".join(f"[{name}]\n{''.join(lines)}" for name, lines in sections.items())
        (self.folder / "config.ini").write_text(text)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of server and commands: nothing of the machine's own configuration."""
        foreign = ("KISSA_", "FLASK_", "GUNICORN_", "XDG_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        own = {"KISSA_CONFIG": str(self.folder / "config.ini"), "HOME": str(self.folder)}
        return kept | own | {"XDG_RUNTIME_DIR": str(self.folder)}

    # Beginning and end

    def flask(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of the operator's commands to its end."""
        return subprocess.run(
            [BIN / "flask", *command],
            cwd=ROOT,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def migrate(self) -> "Server":
        """Give it what `flask migrate` makes, on disk too, but faster; test_server.py runs the
        command itself."""
        config = configuration.load(self.folder / "config.ini", {})
        make_database(config.database.path)
        for path in (config.database.path, config.database.path.parent):
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        credentials.load_secret(credentials.secret_path(config.database.path))
        LocalStorage(config.storage.directory, durable=config.storage.durable).close()
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        """Run gunicorn in a process group of its own, without waiting for anything."""
        assert self.process is None, "it runs already"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.before, *GUNICORN],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def start(self) -> "Server":
        """Run gunicorn and wait until it answers."""
        process = self.spawn()

        def ready() -> bool:
            assert process.poll() is None, self.log
            return self.is_healthy()

        until(ready, f"the server answers\n{self.log}")
        return self

    def is_healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def wait(self) -> int:
        """The exit code, once every process of the server is gone."""
        assert self.process is not None
        try:
            code = self.process.wait(PATIENCE)
        finally:
            self.end()
        return code

    def stop(self) -> int:
        """End it as a service manager does. Returns the exit code."""
        assert self.process is not None
        self.session.close()  # or it waits for this connection's next request, two seconds long
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """kill -9 of every process at once."""
        assert self.process is not None
        workers = self.workers()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        until(lambda: not any(map(is_alive, workers)), "the workers end")
        self.process = None

    def end(self) -> None:
        """Leave nothing of it running, whatever state it is in."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
            self.process = None

    def restart(self) -> None:
        """Stop in order, and start again."""
        assert self.stop() == 0
        self.start()

    def workers(self) -> list[int]:
        """The process ids of the workers. (With very many files a sweep runs beside them.)"""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if _is_gunicorn(child)]

    # Looking at it from beside

    @property
    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def requests_logged(self) -> list[str]:
        """The log lines of requests, in the text format."""
        return [line for line in self.log.splitlines() if TIMES.match(line)]

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a SELECT gives, by a connection that cannot write."""
        with closing(sqlite3.connect(f"file:{self.folder}/kissa.db?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()

    def files(self) -> set[str]:
        """The names of all files in the uploads folder, hidden folders included."""
        found = (path for path in self.uploads.rglob("*") if path.is_file())
        return {str(path.relative_to(self.uploads)) for path in found}

    def unnamed_files(self) -> list[str]:
        """The files without a name that a worker still holds open."""
        found = []
        for worker in self.workers():
            for entry in Path(f"/proc/{worker}/fd").iterdir():
                try:
                    target = os.readlink(entry)
                except FileNotFoundError:
                    continue
                if target.startswith(str(self.uploads)) and target.endswith("(deleted)"):
                    found.append(target)
        return found

    def require_quiet(self) -> None:
        """See that the log tells of no fault of ours."""
        faults = ("Traceback", "database is locked", "error ", "Exception", "WORKER TIMEOUT")
        lines = [line for line in self.log.splitlines() if any(word in line for word in faults)]
        assert not lines, self.log[-8000:]

    # Doing what users do

    def post(
        self, path: str, headers: dict[str, str] | None = None, **more: Any
    ) -> requests.Response:
        """A POST, repeated while the server is busy."""
        return self._send("POST", path, headers, **more)

    def get(
        self, path: str, headers: dict[str, str] | None = None, **more: Any
    ) -> requests.Response:
        return self._send("GET", path, headers, **more)

    def _send(self, method: str, path: str, headers: Any, **more: Any) -> requests.Response:
        deadline = time.monotonic() + PATIENCE
        while True:
            response = self.session.request(
                method, self.url + path, headers=headers, timeout=PATIENCE, **more
            )
            if response.status_code != 503 or time.monotonic() > deadline:
                return response
            time.sleep(0.02)

    def ask(self, path: str, headers: dict[str, str], **more: Any) -> Any:
        """The answer to a POST that must succeed: its JSON, or its text."""
        response = self.post(path, headers, **more)
        assert response.status_code == 200, f"{path}: {response.status_code} {response.text}"
        is_json = response.headers["Content-Type"] == "application/json"
        return response.json() if is_json else response.text

    def upload(self, person: Person, content: bytes, name: str = "shot.png") -> str:
        """The stored name of an upload by the nekos API."""
        answer = self.ask(
            "/api/files/upload", person.by_token, files={"uploadFile": (name, content)}
        )
        return str(answer["url"]).rpartition("/")[2]

    def person(self, username: str, *, admin: bool = False, regkey: str = "") -> Person:
        """Sign somebody up, with a token, an API key and, as an admin, an admin token."""
        login = {"username": username, "password": PASSWORD}
        if admin:
            self.ask("/api/admin/signup", login | {"adminkey": ADMIN_KEY})
        else:
            self.ask("/api/user/signup", login | {"regkey": regkey})
        token = self.ask("/api/token/get", login)["token"]
        key = self.ask("/api/user/keys/create", {"token": token, "name": "tests"})["key"]
        return Person(
            username=username,
            password=PASSWORD,
            token=token,
            api_key=key,
            admin_token=self.ask("/api/admin/token/get", login)["token"] if admin else "",
        )

    def wire(self) -> Wire:
        """A connection on which every byte is ours."""
        return Wire(socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE))


def _is_gunicorn(pid: str) -> bool:
    try:
        return b"gunicorn" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def make_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Makes servers, migrated and, unless `start=False`, running; all ended with the module."""
    servers: list[Server] = []

    def make(*, start: bool = True, migrate: bool = True, **keys: object) -> Server:
        server = Server(tmp_path_factory.mktemp("live"), **keys)
        servers.append(server)
        if migrate:
            server.migrate()
        return server.start() if start else server

    yield make
    for server in servers:
        server.end()
        server.session.close()
    for server in servers:
        server.require_quiet()
