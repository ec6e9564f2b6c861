"""The units, the example configurations and the pages about installing agree with each other."""

import configparser
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import config as configuration

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted([*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")])
SERVICES = [path for path in UNITS if path.suffix == ".service"]
INSTALL = (ROOT / "docs/install.md").read_text()
COMPOSE = (ROOT / "compose.yaml").read_text()
GUNICORN = (DEPLOY / "gunicorn.conf.py").read_text()
MAX_EXPOSURE = 1.0
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a service needs and another does not; everything else about them is the same.
OWN = {
    "Type", "ExecStartPre", "ExecStart", "ExecStartPost", "TimeoutStartSec", "TimeoutStopSec",
    "KillMode", "Restart", "RestartSec", "OOMPolicy", "LimitNOFILE", "RuntimeDirectory",
    "RuntimeDirectoryMode", "StateDirectory", "Environment", "Nice", "IOSchedulingClass",
}  # fmt: skip

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd: make test-packages installs it"
)


def section(unit: Path, name: str = "Service") -> dict[str, list[str]]:
    """The values of each key of a section, in their order."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        elif current == name and re.match(r"[A-Za-z]", line):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def one(unit: Path, key: str) -> str:
    (value,) = section(unit)[key]
    return value


KISSA = DEPLOY / "kissa.service"


@needs_systemd
def test_units_are_free_of_faults(tmp_path: Path) -> None:
    # As an installation has it, but with the code here.
    for unit in UNITS:
        text = unit.read_text()
        text = text.replace("/opt/kissa/.venv/bin/gunicorn", "/bin/true")
        (tmp_path / unit.name).write_text(text.replace("/opt/kissa/.venv/bin/flask", "/bin/true"))
    ran = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in (ran.stdout + ran.stderr).splitlines() if "kissa" in line]
    assert told == []
    assert ran.returncode == 0, ran.stderr


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_services_are_fenced_in(unit: Path) -> None:
    ran = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", ran.stdout)
    assert found, ran.stdout + ran.stderr
    assert float(found[1]) <= MAX_EXPOSURE, ran.stdout


def test_the_services_have_the_same_fence() -> None:
    def fence(unit: Path) -> dict[str, list[str]]:
        return {key: value for key, value in section(unit).items() if key not in OWN}

    # Only the server has a socket, which gunicorn hands to its own user, makes thumbnails, and
    # takes a core.
    expected = fence(KISSA)
    expected["SystemCallFilter"].remove("chown setpriority sched_setaffinity")
    for unit in SERVICES:
        if unit != KISSA:
            assert fence(unit) == expected


def test_the_server_is_started_as_make_serve_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    serve = makefile.partition("\nserve:")[2].partition("\n\n")[0].splitlines()[1:]
    there = [
        shlex.split(line.replace("$(BIN)", "/opt/kissa/.venv/bin").removeprefix("\texec "))
        for line in serve
    ]
    here = [shlex.split(one(KISSA, key)) for key in ("ExecStartPre", "ExecStart")]
    assert here == there
    start = (DEPLOY / "docker-start.sh").read_text().splitlines()[-2:]
    for line, command in zip(start, there, strict=True):
        words = shlex.split(line.removeprefix("exec "))
        assert words == [Path(command[0]).name, *command[1:]]


def test_setup_compiles_what_the_server_runs(tmp_path: Path) -> None:
    """The service's user may not write beside the code, and would compile it at each start."""
    setup = (ROOT / "scripts/setup.sh").read_text()
    found = re.search(r"^compile\(\) \{\n(.*?)^\}", setup, re.MULTILINE | re.DOTALL)
    assert found
    sources = [*ROOT.glob("*.py"), *ROOT.glob("migrations/*.py"), *ROOT.glob("deploy/*.py")]
    sources += ROOT.glob("blueprints/**/*.py")
    for source in sources:
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    subprocess.run(["sh", "-euc", found[1]], cwd=tmp_path, check=True)
    for source in sources:
        compiled = importlib.util.cache_from_source(str(source.relative_to(ROOT)))
        assert (tmp_path / compiled).is_file(), compiled


def test_thumbnails_may_step_back_under_systemd() -> None:
    """@resources, which is forbidden, holds what lowers a priority; and an end of memory ends the
    thumbnail being made, which must not end the service."""
    assert "setpriority" in " ".join(section(KISSA)["SystemCallFilter"][2:]).split()
    assert one(KISSA, "OOMPolicy") == "continue"


def test_uploads_may_share_a_core_under_systemd() -> None:
    assert "sched_setaffinity" in " ".join(section(KISSA)["SystemCallFilter"][2:]).split()


def test_a_stop_waits_for_uploads_in_flight() -> None:
    found = re.search(r"^graceful_timeout = (\d+)", GUNICORN, re.MULTILINE)
    grace = re.search(r"stop_grace_period: (\d+)s", COMPOSE)
    assert found
    assert grace
    assert int(one(KISSA, "TimeoutStopSec")) > int(found[1])
    assert int(grace[1]) > int(found[1])


def test_the_paths_are_those_of_the_page_and_of_nginx() -> None:
    table = dict(re.findall(r"^\| ([^|]+?) \| `([^`]+)` \|$", INSTALL, re.MULTILINE))
    state, code = table["database, secret, files, backups"], table["the code, root's"]
    config = configuration.load(DEPLOY / "kissa.ini", {})
    nginx = (DEPLOY / "nginx.conf").read_text()
    for unit in SERVICES:
        assert one(unit, "WorkingDirectory") == code
        assert f"KISSA_CONFIG={table['the configuration']}" in section(unit)["Environment"]
        assert f"/var/lib/{one(unit, 'StateDirectory').split()[0]}" == state
        assert one(unit, "NoExecPaths") == state
    assert config.server.bind == f"unix:{table['the socket']}"
    assert Path(table["the socket"]).parent == Path("/run", one(KISSA, "RuntimeDirectory"))
    assert config.database.path.parent == config.storage.directory.parent == Path(state)
    assert f"server {config.server.bind};" in nginx
    assert f"default {config.storage.directory};" in nginx
    assert f"client_max_body_size {config.uploads.max_body_bytes // 1024**2}m;" in nginx
    command = (DEPLOY / "kissa").read_text()
    assert f"cd {code}\n" in command
    assert f"KISSA_CONFIG={table['the configuration']} " in command
    assert f"umask {one(KISSA, 'UMask')}\n" in command


def test_the_umask_closes_everything_but_the_files(tmp_path: Path) -> None:
    (tmp_path / "config.ini").touch()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("KISSA_")}
    ran = subprocess.run(
        [Path(sys.executable).with_name("flask"), "migrate"],
        cwd=ROOT,
        env=kept | {"KISSA_CONFIG": str(tmp_path / "config.ini")},
        umask=int(one(KISSA, "UMask"), 8),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    modes = {
        str(path.relative_to(tmp_path)): path.stat().st_mode & 0o7777
        for path in tmp_path.rglob("*")
        if path.name != "config.ini"
    }
    # nginx passes through folders, and lists none.
    hidden = ("pending", "incoming", "thumbnails", "resumable")
    for name in ("uploads", *(f"uploads/.{folder}" for folder in hidden)):
        assert modes.pop(name) & 0o776 == 0o710
    assert {"kissa.db", "kissa.secret"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_the_page_names_the_names_that_are_changed() -> None:
    for name in ("kissa.example.org", "files.example.org"):
        assert name in (DEPLOY / "kissa.ini").read_text()
        assert name in (DEPLOY / "nginx.conf").read_text()
        assert f"={name}\n" in INSTALL
        assert name.replace(".", r"\.") in INSTALL


def test_the_page_tells_the_settings_as_the_file_has_them() -> None:
    config = configuration.load(DEPLOY / "kissa.ini", {})
    rows = re.findall(r"^\| `\[(\w+)\] (\w+)` \| (\w+) \|", INSTALL, re.MULTILINE)
    assert len(rows) == 4
    for name, key, shown in rows:
        value = getattr(getattr(config, name), key)
        assert shown == (str(value).lower() if isinstance(value, bool) else str(value))


def test_registration_is_closed() -> None:
    assert not configuration.load(DEPLOY / "kissa.ini", {}).accounts.registration
    assert "KISSA_ACCOUNTS_REGISTRATION:-false" in COMPOSE


@pytest.mark.parametrize("page", ["nginx.md", "docker.md"])
def test_the_configuration_of_a_page_can_be_loaded(page: str, tmp_path: Path) -> None:
    blocks = [
        text for kind, text in FENCE.findall((ROOT / "docs" / page).read_text()) if kind == "ini"
    ]
    assert blocks
    for text in blocks:
        environ = {}
        (tmp_path / "config.ini").write_text("" if page == "docker.md" else text)
        if page == "docker.md":
            environ = dict(line.split("=", 1) for line in text.splitlines())
        configuration.load(tmp_path / "config.ini", environ)


def test_the_files_that_the_page_copies_are_there() -> None:
    named = re.findall(r"\bdeploy/[\w.*-]+", INSTALL)
    assert named
    for pattern in named:
        assert list(ROOT.glob(pattern)), pattern


def test_the_timers_have_their_service() -> None:
    for timer in DEPLOY.glob("*.timer"):
        assert timer.with_suffix(".service").exists()
        parser = configparser.ConfigParser()
        parser.read(timer)
        assert parser["Timer"]["Persistent"] == "true"
        assert parser["Install"]["WantedBy"] == "timers.target"
        assert timer.name in INSTALL


def test_the_image_leaves_private_files_out() -> None:
    left_out = (ROOT / ".dockerignore").read_text().splitlines()
    for name in ("config.ini", ".env", "kissa.db*", "*.secret*", "uploads", ".git", ".venv"):
        assert name in left_out
