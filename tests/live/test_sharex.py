"""Uploads by a ShareX client (the package sharex-cli), with the configuration that Kissa makes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conftest import PNG, Person
from tests.live.conftest import BIN, PATIENCE, Server

pytestmark = pytest.mark.live

# In a process of its own that does not see our folder: we have a module of the same name.
CLIENT = """
import io, json, pathlib, sys
import sharex
config, path = json.load(sys.stdin), pathlib.Path(sys.argv[1])
with path.open("rb") as file:
    print(sharex.upload_file(config, path.name, file, path))
"""


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Server]) -> Server:
    return make_server()


@pytest.fixture(scope="module")
def alice(server: Server) -> Person:
    return server.person("alice")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "bücher ☕.png"
    path.write_bytes(PNG)
    return path


def run(config: Any, picture: Path, server: Server) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", CLIENT, str(picture)],
        cwd=picture.parent,
        env=server.environ | {"NO_PROXY": "*"},
        input=json.dumps(config),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_sharex_uploads_by_the_nekos_api(server: Server, alice: Person, picture: Path) -> None:
    answer = server.post("/api/user/sharex", alice.by_token)
    assert answer.headers["Content-Disposition"].endswith('nekos.sxcu"')
    done = run(answer.json(), picture, server)
    assert done.returncode == 0, done.stderr
    url = done.stdout.strip()
    assert url.startswith(f"{server.url}/f/")
    assert url.endswith(".png")
    fetched = server.session.get(url, timeout=PATIENCE)
    assert (fetched.content, fetched.headers["Content-Type"]) == (PNG, "image/png")


def test_sharex_uploads_by_the_f0ckm_api(server: Server, alice: Person, picture: Path) -> None:
    config = server.ask("/api/v2/sharex", alice.by_key)
    # This client ignores Arguments, in which ShareX itself asks for rating and tags.
    assert set(config["Arguments"]) == {"rating", "tags"}
    config["RequestURL"] += "?" + urlencode({"rating": "nsfw", "tags": "cat, cute, bücher"})
    done = run(config, picture, server)
    assert done.returncode == 0, done.stderr
    url = done.stdout.strip()
    page = server.session.get(url, timeout=PATIENCE)
    assert page.status_code == 200
    item = server.get(f"/api/v2/items/{url.rpartition('/')[2]}").json()
    assert (item["rating"], item["tags"]) == ("nsfw", ["bücher", "cat", "cute"])
    assert server.session.get(item["file"], timeout=PATIENCE).content == PNG
    names = server.rows("SELECT original_name FROM item")
    assert {name for (name,) in names} == {picture.name}


def test_a_refusal_reaches_the_client_as_an_error(
    server: Server, alice: Person, picture: Path
) -> None:
    config = server.ask("/api/v2/sharex", alice.by_key)
    done = run(config, picture, server)
    assert done.returncode != 0
    assert "Rating (sfw/nsfw/nsfl) is required" in done.stdout


def test_the_command_line_client_at_a_terminal(
    server: Server, alice: Person, picture: Path
) -> None:
    config = server.ask("/api/user/sharex", alice.by_token)
    before = server.ask("/api/files/list", alice.by_token)
    # Without a terminal it ignores the file and sends its standard input.
    command = f"'{BIN / 'sharex'}' -nc -nl '{picture}'"
    done = subprocess.run(
        ["script", "-e", "-q", "-c", command, "/dev/null"],
        cwd=picture.parent,
        env=server.environ | {"NO_PROXY": "*", "SHAREX_CONFIG": json.dumps(config)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    name = server.ask("/api/files/list", alice.by_token)[0]
    assert name not in before
    assert server.get(f"/f/{name}").content == PNG
