"""The operator's commands, run as the operator runs them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import credentials
import models
from tests import database

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "correct horse"
ALL = sorted(path.stem for path in models.MIGRATIONS.glob("*.py"))


class Flask:
    """`flask ...` in the project's folder, on an installation of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "config.ini"
        self.file.write_text("[accounts]\nbcrypt_cost = 4\n")

    def __call__(
        self, *arguments: str, stdin: str = "", status: int = 0, user: int | None = None
    ) -> str:
        """Run it; the lines of both outputs, which hold no traceback."""
        environ = {"PATH": os.environ["PATH"], "KISSA_CONFIG": str(self.file)}
        done = subprocess.run(
            [sys.executable, "-m", "flask", *arguments],
            cwd=ROOT,
            env=environ,
            input=stdin,
            capture_output=True,
            text=True,
            user=user,
            timeout=30,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert "No such command" not in done.stderr
        assert done.returncode == status, done.stdout + done.stderr
        if status:
            assert done.stdout == ""
        else:
            assert done.stderr == ""
        return done.stdout + done.stderr

    def make(self) -> None:
        """What `flask migrate` makes, but faster."""
        database.make(self.database)
        credentials.load_secret(credentials.secret_path(self.database))

    @property
    def database(self) -> Path:
        return self.folder / "kissa.db"

    @property
    def uploads(self) -> Path:
        return self.folder / "uploads"


@pytest.fixture
def flask(tmp_path: Path) -> Flask:
    return Flask(tmp_path)


COMMANDS = [
    pytest.param(["migrate"], id="migrate"),
    pytest.param(["create-admin", "root"], id="create-admin"),
    pytest.param(["sweep"], id="sweep"),
]


def test_from_nothing_to_an_admin(flask: Flask) -> None:
    assert flask("migrate") == f"Applied: {', '.join(ALL)}.\n"
    assert flask("migrate") == "The database is up to date.\n"
    assert flask("create-admin", "root", stdin=f"{PASSWORD}\n") == "root is an admin now.\n"
    assert "taken" in flask("create-admin", "ROOT", stdin=f"{PASSWORD}\n", status=1)
    for path in (flask.database, flask.folder / "kissa.secret"):
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "password", "told"),
    [
        pytest.param("x", PASSWORD, "A username is", id="short-name"),
        pytest.param("../x", PASSWORD, "A username is", id="odd-name"),
        pytest.param("root", "", "6 to 256", id="no-password"),
        pytest.param("root", "short", "6 to 256", id="short-password"),
        pytest.param("root", " outer blank", "blank", id="blank-first"),
        pytest.param("root", "x" * 257, "6 to 256", id="long-password"),
    ],
)
def test_admin_that_cannot_be(flask: Flask, name: str, password: str, told: str) -> None:
    flask.make()
    line = flask("create-admin", name, stdin=f"{password}\n", status=1)
    assert told in line
    assert line.count("\n") == 1


def test_password_is_taken_as_it_is_typed(flask: Flask) -> None:
    flask.make()
    flask("create-admin", "root", stdin="pässwörd✓ with blanks\r\n")
    program = (
        "import pathlib, sys, models, credentials;"
        "models.open_database(pathlib.Path(sys.argv[1])); user = models.User.get();"
        "print(credentials.verify_password('pässwörd✓ with blanks', user.password_hash, 4))"
    )
    command = [sys.executable, "-c", program, str(flask.database)]
    assert subprocess.check_output(command, cwd=ROOT) == b"True\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_faulty_configuration(flask: Flask, command: list[str]) -> None:
    flask.file.write_text("[uploads]\nmax_size_mb = lots\nnonsense = 1\n")
    lines = flask(*command, status=1).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{flask.file}: [uploads] ") for line in lines)
    assert not flask.database.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_no_configuration(flask: Flask, command: list[str]) -> None:
    flask.file.unlink()
    (line,) = flask(*command, status=1).splitlines()
    assert "readable file" in line


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_no_database(flask: Flask, command: list[str]) -> None:
    (line,) = flask(*command, stdin=f"{PASSWORD}\n", status=1).splitlines()
    assert line.endswith("there is no database yet; run: flask migrate")
    assert not flask.database.exists()


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_old_schema(flask: Flask, command: list[str]) -> None:
    flask.database.touch(mode=0o600)
    (line,) = flask(*command, stdin=f"{PASSWORD}\n", status=1).splitlines()
    assert line == "the database lacks " + ", ".join(ALL) + "; run: flask migrate"


@pytest.mark.parametrize("command", COMMANDS)
def test_damaged_database(flask: Flask, command: list[str]) -> None:
    flask.database.write_bytes(b"no database, " * 1000)
    (line,) = flask(*command, stdin=f"{PASSWORD}\n", status=1).splitlines()
    assert "not a database" in line


def test_secret_that_others_can_read(flask: Flask) -> None:
    flask.make()
    (flask.folder / "kissa.secret").chmod(0o644)
    line = flask("create-admin", "root", stdin=f"{PASSWORD}\n", status=1)
    assert "chmod 600" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_storage_that_is_a_file(flask: Flask, command: list[str]) -> None:
    flask.make()
    flask.uploads.write_text("in the way")
    (line,) = flask(*command, stdin=f"{PASSWORD}\n", status=1).splitlines()
    assert "uploads" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away takes root")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("uid", "name"),
    [pytest.param(65534, "nobody", id="named"), pytest.param(54321, "'#54321'", id="nameless")],
)
def test_another_user(flask: Flask, command: list[str], uid: int, name: str) -> None:
    flask.make()
    os.chown(flask.database, uid, uid)
    before = sorted(path.name for path in flask.folder.rglob("*"))
    (line,) = flask(*command, stdin=f"{PASSWORD}\n", status=1).splitlines()
    assert line.endswith(f"; run: sudo -u {name} flask {' '.join(command)}")
    assert sorted(path.name for path in flask.folder.rglob("*")) == before


def test_sweep_shows_then_does(flask: Flask) -> None:
    flask.make()
    flask.uploads.mkdir(exist_ok=True)
    (flask.uploads / "orphan1.png").write_bytes(b"x")
    assert "1 files, 0 without an upload" in flask("sweep")  # it is young
    shown = flask("sweep", "--young").splitlines()
    assert shown[0] == "public file without an upload: orphan1.png"
    assert shown[1].startswith("Held back: the database knows no upload at all")
    assert shown[2].endswith("; 0 removed.")
    assert (flask.uploads / "orphan1.png").exists()
    shown = flask("sweep", "--young", "--apply", "--force").splitlines()
    assert shown[-1].endswith("; 1 removed.")
    assert not (flask.uploads / "orphan1.png").exists()


def test_commands_are_listed_on_a_broken_installation(flask: Flask) -> None:
    flask.file.write_text("nonsense")
    shown = flask("--help")
    for command in ("migrate", "create-admin", "sweep"):
        assert f"  {command} " in shown


def test_held_back_sweep_is_a_failure(flask: Flask) -> None:
    flask.make()
    flask.uploads.mkdir(exist_ok=True)
    (flask.uploads / "orphan1.png").write_bytes(b"x")
    environ = {"PATH": os.environ["PATH"], "KISSA_CONFIG": str(flask.file)}
    command = [sys.executable, "-m", "flask", "sweep", "--young", "--apply"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Held back" in done.stdout
    assert (flask.uploads / "orphan1.png").exists()


def test_moved_installation_works(flask: Flask, tmp_path: Path) -> None:
    flask.make()
    flask("create-admin", "root", stdin=f"{PASSWORD}\n")
    other = tmp_path / "other"
    other.mkdir()
    for name in ("config.ini", "kissa.db", "kissa.secret"):
        shutil.copy2(flask.folder / name, other / name)
    flask.file, flask.folder = other / "config.ini", other
    assert flask("migrate") == "The database is up to date.\n"
    assert flask("sweep").startswith("0 files")
