"""All of the operator's commands: in the documentation, with help, and on broken installations."""

import io
import re
import sys
from pathlib import Path

import click
import pytest

import cli
import cli_opening
import models
from app import create_app
from tests.installation import Installation

PAGE = (Path(__file__).parent.parent / "docs/commands.md").read_text()
OURS = {"config"} | {
    str(command.name)
    for command in (
        cli.migrate,
        *cli.cli_people.COMMANDS,
        *cli.cli_upkeep.COMMANDS,
        *cli.cli_move.COMMANDS,
    )
}


def commands() -> dict[str, click.Command]:
    """Every command of ours by its words, groups resolved."""
    found: dict[str, click.Command] = {}
    for name, command in create_app().cli.commands.items():
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": command.commands[inner] for inner in command.commands}
        else:
            found[name] = command
    return found


COMMANDS = commands()
BROKEN = [
    "create-admin root", "set-password root", "role root user", "quota root 5", "users", "invite",
    "ban root", "unban root", "token-reset root", "sweep", "check", "backup /nowhere/x", "stats",
    "move --to-storage s3", "move --undo",
]  # fmt: skip


@pytest.fixture
def kissa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    return Installation(tmp_path, monkeypatch)


def test_documentation_and_commands_name_each_other() -> None:
    documented = set()
    for heading in re.findall(r"(?m)^### flask (.*)$", PAGE):
        words = [word for word in heading.split() if word.islower() and "|" not in word]
        documented.add(" ".join(words))
    assert documented == COMMANDS.keys()
    assert {name.split()[0] for name in COMMANDS} == OURS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_documentation_names_every_option_for_scripts(name: str) -> None:
    section = re.split(r"(?m)^#+ ", PAGE.split(f"### flask {name}", 1)[1])[0]
    options = {option for param in COMMANDS[name].params for option in param.opts}
    for option in options & {
        "--json",
        "--force",
        "--hash",
        "--nginx",
        "--verify",
        "--show",
        "--undo",
    }:
        assert option in section


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help(kissa: Installation, name: str) -> None:
    kissa.file.write_text("nonsense")
    assert len(kissa.does(*name.split(), "--help")) > 100
    assert COMMANDS[name].get_short_help_str()


@pytest.mark.parametrize("command", [*BROKEN, "migrate", "restore /nowhere", "config show"])
def test_faulty_configuration(kissa: Installation, command: str) -> None:
    kissa.configure("failures = many\n")
    line = kissa.refuses(*command.split(), stdin="correct horse\n")
    assert "[accounts] failures = 'many'" in line
    assert not kissa.database.exists()


@pytest.mark.parametrize("command", BROKEN)
def test_no_database(kissa: Installation, command: str) -> None:
    line = kissa.refuses(*command.split(), stdin="correct horse\n")
    assert line == "there is no database yet; run: flask migrate\n"
    assert not kissa.database.exists()


@pytest.mark.parametrize("command", [name for name in BROKEN if not name.startswith("backup")])
def test_old_schema(kissa: Installation, command: str) -> None:
    kissa.database.touch(mode=0o600)
    line = kissa.refuses(*command.split(), stdin="correct horse\n")
    lacking = ", ".join(sorted(path.stem for path in models.MIGRATIONS.glob("*.py")))
    assert line == f"the database lacks {lacking}; run: flask migrate\n"


@pytest.mark.parametrize("command", BROKEN)
def test_damaged_database(kissa: Installation, command: str) -> None:
    kissa.database.write_bytes(b"no database, " * 1000)
    assert "not a database" in kissa.refuses(*command.split(), stdin="correct horse\n")


def test_backup_of_an_empty_file(kissa: Installation) -> None:
    kissa.make()
    kissa.database.write_bytes(b"")
    kissa.refuses("backup", str(kissa.folder / "backup"))
    assert not list(kissa.folder.glob("backup*"))


def test_restore_without_a_backup(kissa: Installation) -> None:
    assert "no backup can be read here" in kissa.refuses("restore", str(kissa.folder))
    assert "no backup can be read here" in kissa.refuses("backup", "--verify", "/nowhere")


class Terminal(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize(
    ("is_terminal", "after", "shown"),
    [
        pytest.param(True, 0.0, True, id="terminal"),
        pytest.param(True, 60.0, False, id="quick"),
        pytest.param(False, 0.0, False, id="script"),
    ],
)
def test_progress_is_for_people_who_wait(
    is_terminal: bool, after: float, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_opening, "SHOW_AFTER", after)
    terminal = Terminal(is_terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    with cli_opening.progress_bar("Working") as progress:
        progress(1, 2)
        progress(2, 2)
    assert ("Working" in terminal.getvalue()) is shown
