"""The servers that are measured: each in its folder, on a free port, ended by its own id."""

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from bench.disk import make_spread, put_aside
from bench.processes import cpu_seconds, descendants

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent  # not resolved: the virtualenv's own
COPYPARTY_PROGRAM = ROOT / "bench/.venv/bin/copyparty"
# nginx and its like live where a user's PATH does not look.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
PATIENCE = 60.0  # seconds after which something that should happen counts as not happening

KISSA, FAST = "Kissa", "Kissa, not durable"
FRONT, FAST_FRONT = "Kissa behind nginx", "Kissa behind nginx, not durable"
COPYPARTY, COPYPARTY_256 = "copyparty", "copyparty with SHA-256"
PUT, NOTHING = "nginx PUT", "nginx 204"


class Failed(Exception):
    """A server or a tool did not do what it was asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a server takes uploads.

    Args:
        url: where they go to; for PUT a folder.
        method: POST for a multipart form, or PUT.
        field: the form's field of the file.
        form: another field that comes before it, as name=value.
        token: sent in the header `token`.
    """

    url: str
    method: str = "POST"
    field: str = ""
    form: str = ""
    token: str = ""

    @property
    def environ(self) -> dict[str, str]:
        """This way for up.lua."""
        found = {"METHOD": self.method, "FIELD": self.field, "FORM": self.form}
        return found | ({"TOKEN": self.token} if self.token else {})

    def curl(self, file: Path, name: str) -> list[str]:
        """The arguments of a curl that uploads `file` under `name`."""
        if self.method == "PUT":
            return ["-T", str(file), self.url + name]
        form = ["-F", self.form] if self.form else []
        token = ["-H", f"token: {self.token}"] if self.token else []
        return [*token, *form, "-F", f"{self.field}=@{file};filename={name}", self.url]


class Server:
    """A server, not yet running.

    Args:
        name: what it is called in the results.
        folder: where it keeps everything; made here, and spread over the disk.
    """

    probe = "/"  # answers below 500 once the server is there
    longest = 60  # seconds of one point of 100 KB uploads

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.port = free_port()
        make_spread(folder)
        self.files = folder / "files"
        self.files.mkdir()
        self.aside = 0
        self.running: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def way(self) -> Way:
        """How it takes uploads."""
        raise NotImplementedError

    def commands(self) -> list[list[str]]:
        """What to run, in this order."""
        raise NotImplementedError

    def environ(self) -> dict[str, str]:
        """The environment of its processes: nothing of the machine's own configuration."""
        foreign = ("KISSA_", "FLASK_", "GUNICORN_", "XDG_", "LD_PRELOAD")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        return kept | {"HOME": str(self.folder)}

    def start(self) -> float:
        """Run it.

        Returns:
            the seconds from its exec to its first answer.

        Raises:
            Failed: it does not answer.
        """
        commands = self.commands()
        begun = time.perf_counter()
        with (self.folder / "log").open("ab") as log:
            for command in commands:
                self.running.append(
                    subprocess.Popen(
                        command,
                        cwd=ROOT,
                        env=self.environ(),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        while not self._answers():
            if any(process.poll() is not None for process in self.running):
                raise Failed(f"{self.name} ended at its start:\n{self.log()}")
            if time.perf_counter() - begun > PATIENCE:
                raise Failed(f"{self.name} does not answer:\n{self.log()}")
            time.sleep(0.002)
        return time.perf_counter() - begun

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", self.probe)
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()

    def end(self) -> None:
        """End every process of it, at once when it does not go by itself."""
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.running = []

    def pids(self) -> list[int]:
        """The ids of all its processes."""
        return [pid for process in self.running for pid in descendants(process.pid)]

    def settle(self) -> None:
        """Wait until it has nothing more to do; at most `PATIENCE` seconds."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            before = cpu_seconds(self.pids())
            time.sleep(0.25)
            if cpu_seconds(self.pids()) - before <= 0.01:
                return

    def log(self) -> str:
        """The end of what it said."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def stored(self) -> tuple[int, int]:
        """How many files it holds, and their bytes together."""
        sizes = [entry.stat().st_size for entry in self._uploaded()]
        return len(sizes), sum(sizes)

    def clear(self) -> None:
        """Put the files that were uploaded aside, so that the next point finds the same disk."""
        self.aside += 1
        put_aside([one.path for one in self._uploaded()], self.folder / f"aside/{self.aside}")

    def _uploaded(self) -> list[os.DirEntry[str]]:
        with os.scandir(self.files) as entries:
            return [one for one in entries if one.is_file() and not one.name.startswith(".")]

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[http.client.HTTPMessage, bytes]:
        """One answer.

        Raises:
            Failed: it is an error's.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body or None, headers or {})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise Failed(f"{self.name}: {method} {path}: {answer.status} {content[:200]!r}")
        return answer.headers, content


class Kissa(Server):
    """This project, as `make serve` runs it.

    Args:
        durable: [storage] durable.
        hops: how many proxies are in front; then it is they who are asked.
        preload: a library for LD_PRELOAD.
        app: the WSGI application.
        more: further configuration, by section.
    """

    probe = "/healthz"

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        durable: bool = True,
        hops: int = 0,
        preload: Path | None = None,
        app: str = "app:create_app()",
        more: dict[str, dict[str, object]] | None = None,
    ) -> None:
        super().__init__(name, folder)
        self.preload, self.app = preload, app
        self.bind = f"127.0.0.1:{self.port}"
        self.token = ""
        self.more = more or {}
        self._configure(durable, hops)

    def _configure(self, durable: bool, hops: int) -> None:
        sections: dict[str, dict[str, object]] = {
            "site": {"url": f"{self.url}/"},
            "server": {"bind": self.bind, "proxy_hops": hops},
            "storage": {"directory": self.files, "durable": str(durable).lower()},
            "uploads": {"max_size_mb": 2048, "per_minute": 0},
            "accounts": {"bcrypt_cost": 4},
        }
        for section, keys in self.more.items():
            sections[section] = sections.get(section, {}) | keys
        lines = (
            f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
            for section, keys in sections.items()
        )
        (self.folder / "config.ini").write_text("".join(lines), encoding="utf-8")

    @property
    def database(self) -> Path:
        return self.folder / "kissa.db"

    def environ(self) -> dict[str, str]:
        own = {"KISSA_CONFIG": str(self.folder / "config.ini")}
        preload = {"LD_PRELOAD": str(self.preload)} if self.preload else {}
        return super().environ() | own | preload

    def commands(self) -> list[list[str]]:
        return [[str(BIN / "gunicorn"), "-c", "deploy/gunicorn.conf.py", self.app]]

    def start(self) -> float:
        if not self.database.exists():
            ran = subprocess.run(
                [BIN / "flask", "migrate"],
                cwd=ROOT,
                env=self.environ(),
                capture_output=True,
                text=True,
                check=False,
            )
            if ran.returncode:
                raise Failed(f"{self.name}: flask migrate: {ran.stderr}")
        return super().start()

    @property
    def way(self) -> Way:
        if not self.token:
            self.token = self.sign_up("alice")
        url = f"{self.url}/api/files/upload"
        return Way(url=url, field="uploadFile", token=self.token)

    def sign_up(self, username: str) -> str:
        """The token of a new user."""
        login = {"username": username, "password": "a-password-for-benchmarks"}
        self.ask("POST", "/api/user/signup", login)
        return str(json.loads(self.ask("POST", "/api/token/get", login)[1])["token"])

    def sign_in(self) -> str:
        """A browser's cookie of alice."""
        assert self.way
        form = {"username": "alice", "password": "a-password-for-benchmarks"}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Sec-Fetch-Site": "same-origin",
        }
        found, _ = self.ask("POST", "/signin", headers, urlencode(form).encode())
        return (found["Set-Cookie"] or "").partition(";")[0]


class Copyparty(Server):
    """copyparty, as its own documentation starts it, without thumbnails and without its index.

    Args:
        checksum: what it hashes uploads with; its default is sha512, which takes longer than
            Kissa's SHA-256 where the processor knows that one.
    """

    def __init__(self, name: str, folder: Path, checksum: str = "sha512") -> None:
        super().__init__(name, folder)
        self.checksum = checksum

    def commands(self) -> list[list[str]]:
        listening = ["-i", "127.0.0.1", "-p", str(self.port)]
        volume = ["-v", f"{self.files}::rw", "--no-thumb", "--bup-ck", self.checksum]
        return [[str(COPYPARTY_PROGRAM), "-q", *listening, *volume]]

    @property
    def way(self) -> Way:
        return Way(url=f"{self.url}/", field="f", form="act=bput")


def free_port() -> int:
    """A port that nothing uses, below those that the kernel gives to clients."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
