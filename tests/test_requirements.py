"""What is installed: few packages, each pinned with hashes, each direct one with its reason."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^([a-z0-9-]+)==([^ \\\n]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "name",
    [
        *("requirements", "requirements-postgres", "requirements-s3", "requirements-dev"),
        "bench/requirements",
    ],
)
def test_all_pins_come_from_the_readable_file_and_have_hashes(name: str) -> None:
    text = (ROOT / f"{name}.txt").read_text(encoding="utf-8")
    locked = pins(f"{name}.txt")
    assert pins(f"{name}.in").items() <= locked.items()
    entries = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked)
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_the_dev_file_has_the_servers_own_packages() -> None:
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()


def test_few_packages_run_the_server() -> None:
    assert len(pins("requirements.in")) <= 12
    assert len(pins("requirements.txt")) <= 19


def test_every_direct_package_has_its_reason() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if match := PIN.match(line):
            assert lines[number - 1].startswith("# "), line
            assert match[1] in readme
