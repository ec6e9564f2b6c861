"""A PostgreSQL cluster of the tests' own: in a temporary folder, on a Unix socket and a free port,
ended with them."""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

_SETTINGS = {
    "fsync": "off",  # nobody cuts the power of a test
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "autovacuum": "off",
    "logging_collector": "off",
}


def find_programs() -> Path | None:
    """The folder of the newest PostgreSQL server's programs, None where there is none."""
    folders = [Path(path).parent for path in glob.glob("/usr/lib/postgresql/*/bin/postgres")]
    if folders:
        return max(folders, key=lambda folder: float(folder.parent.name))
    found = shutil.which("postgres")
    return Path(found).parent if found else None


def _user() -> str | None:
    """Whom to run as: PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


class Cluster:
    """One running server. Its superuser `kissa` needs no password; see `url`."""

    def __init__(self, folder: Path, **settings: str) -> None:
        programs = find_programs()
        assert programs is not None, "PostgreSQL is not installed"
        self.folder = folder
        self._programs = programs
        self._settings = _SETTINGS | settings
        self.environ: dict[str, str] = {}  # beside ours, from its next start on
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        if (user := _user()) is not None:
            shutil.chown(folder, user)
        if not (folder / "data").exists():
            self._run("initdb", "-Ukissa", "-Atrust", "--locale=C", "-EUTF8", "--no-sync")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Where a database of this server is."""
        return f"postgresql://kissa@127.0.0.1:{self.port}/{database}"

    def create(self, database: str, options: str = "") -> str:
        """Make an empty database. Returns its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'create database "{database}" {options}')
        return self.url(database)

    def start(self) -> None:
        """Run the server, and wait until it answers."""
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *options]
        command += ["-p", str(self.port), "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                user=_user(),
                cwd="/",
                env=os.environ | self.environ,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "PostgreSQL does not answer"
                time.sleep(0.05)
            else:
                return

    @property
    def pid(self) -> int:
        """The id of the process that started all others of it."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: by SIGINT at once, by SIGQUIT as a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def _run(self, program: str, *args: str) -> None:
        command = [str(self._programs / program), "-D", str(self.folder / "data"), *args]
        subprocess.run(
            command, check=True, user=_user(), cwd="/", stdout=subprocess.DEVNULL, timeout=120
        )


@contextlib.contextmanager
def cluster(**settings: str) -> Iterator[Cluster]:
    """A running cluster in a temporary folder, until this is left."""
    folder = Path(tempfile.mkdtemp(prefix="kissa-pg-"))
    running = None
    try:
        running = Cluster(folder, **settings)
        yield running
    finally:
        if running is not None:
            running.stop()
        shutil.rmtree(folder)
