"""Two clients of the tus protocol that others wrote, cut off in the middle, behind nginx."""

import hashlib
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from tests.conftest import Person
from tests.live.conftest import PATIENCE, until
from tests.live.cutter import Cutter
from tests.live.nginx import SITE, Nginx, running

pytestmark = pytest.mark.live
HERE = Path(__file__).with_name("tus-js")
MIB = 1024 * 1024
SIZE = 24 * MIB + 321
PIECE = 8 * MIB
FIELDS = {"filename": "film.mp4", "rating": "sfw", "tags": "a,b,c"}


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with running(uploads_max_size_mb=200) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def alice(nginx: Nginx) -> Person:
    return nginx.server.person("alice")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture(scope="module")
def tus_js(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tus-js-client as package-lock.json pins it, by hash, and the script that uses it."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no node and npm: make test-packages installs them")
    folder = tmp_path_factory.mktemp("tus-js")
    for name in ("package.json", "package-lock.json", "upload.mjs"):
        shutil.copy(HERE / name, folder)
    ran = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if ran.returncode != 0:
        pytest.skip(f"npm cannot fetch tus-js-client: {ran.stderr[-300:]}")
    return folder


def require_whole(nginx: Nginx, film: Path, url: str) -> None:
    """See that what is served under this address are the bytes of the film."""
    name = url.rpartition("/")[2]
    if "/f/" not in url:
        ((name,),) = nginx.server.rows("select name from item where id = ?", int(name))
    answer = nginx.ask(f"/f/{name}")
    assert answer.status == 200
    assert answer.body == film.read_bytes()
    ((digest,),) = nginx.server.rows("select sha256 from item where name = ?", name)
    assert digest == hashlib.sha256(answer.body).digest()
    left = [path for path in nginx.server.files() if path.startswith(".")]
    assert not left, nginx.server.rows("select name, length, offset, item_id from resumable")


def tuspy(server: str, person: Person, film: Path, **more: Any) -> Any:
    client = TusClient(f"{server}/api/files/tus/", headers={"X-Api-Key": person.api_key})
    content = io.BytesIO(film.read_bytes())  # of a path it would leave the file open
    return client.uploader(file_stream=content, metadata=FIELDS, retry_delay=0, **more)


@pytest.mark.parametrize("checked", [False, True], ids=["plain", "checksums"])
def test_tuspy_goes_on_by_itself(nginx: Nginx, alice: Person, film: Path, checked: bool) -> None:
    with Cutter(nginx.port, 3 * MIB, 9 * MIB, MIB) as wire:
        sender = tuspy(wire.url, alice, film, chunk_size=PIECE, retries=3, upload_checksum=checked)
        sender.upload()
    assert wire.cuts == []
    assert sender.offset == SIZE
    require_whole(nginx, film, sender.request.response_headers["x-file-url"])


def test_tuspy_resumes_in_another_process(nginx: Nginx, alice: Person, film: Path) -> None:
    """In the middle of the second piece the client is cut off, and knows its address alone."""
    with Cutter(nginx.port, 12 * MIB) as wire:
        first = tuspy(wire.url, alice, film, chunk_size=PIECE)
        with pytest.raises((TusCommunicationError, OSError)):
            first.upload()
        # Whoever asks ends the request that still reads, and may come before a byte of it.
        until(lambda: received(nginx) > PIECE, "some of the second piece has come")
        second = tuspy(wire.url, alice, film, chunk_size=PIECE, url=first.url)
        assert PIECE < second.offset < 12 * MIB  # what came of the second piece was kept
        second.upload()
    url = second.request.response_headers["x-file-url"]
    assert url.startswith(f"http://{SITE}/")
    require_whole(nginx, film, url)


def received(nginx: Nginx) -> int:
    """How many bytes the one unfinished upload has."""
    [path] = (nginx.server.uploads / ".resumable").iterdir()
    return path.stat().st_size


class TusJs:
    """tus-js-client at work."""

    def __init__(self, folder: Path, film: Path, person: Person) -> None:
        self.folder, self.film, self.person = folder, film, person

    def send(self, url: str, **more: Any) -> tuple[int, list[dict[str, Any]]]:
        """Its exit code, and what it was answered."""
        options = {
            "endpoint": f"{url}/api/files/tus/",
            "headers": {"token": self.person.token},
            "metadata": {"filename": "film.mp4"},
            "file": str(self.film),
            "storage": str(self.folder / "known.json"),
            "retryDelays": None,
        } | more
        ran = subprocess.run(
            ["node", "upload.mjs", json.dumps(options)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=2 * PIECE / MIB + PATIENCE,
            check=False,
        )
        return ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.fixture
def client(tus_js: Path, film: Path, alice: Person) -> Iterator[TusJs]:
    yield TusJs(tus_js, film, alice)
    (tus_js / "known.json").unlink(missing_ok=True)


def test_tus_js_goes_on_by_itself(nginx: Nginx, client: TusJs, film: Path) -> None:
    with Cutter(nginx.port, 3 * MIB, 9 * MIB, MIB) as wire:
        code, answers = client.send(wire.url, retryDelays=[0, 100, 500], chunkSize=PIECE)
    assert wire.cuts == []
    assert (code, answers[-1]) == (0, {"done": True})
    asked = [one["status"] for one in answers if one.get("method") == "HEAD"]
    assert len(asked) >= 3  # one after each cut; more where the server still reads what was cut
    assert set(asked) == {200}
    require_whole(nginx, film, answers[-2]["file"])
    assert answers[-2]["deletion"].startswith(f"http://{SITE}/delete/")


@pytest.mark.parametrize("size", [PIECE, SIZE], ids=["pieces", "in one"])
def test_tus_js_resumes_in_another_process(
    nginx: Nginx, client: TusJs, film: Path, size: int
) -> None:
    with Cutter(nginx.port, 12 * MIB) as wire:
        code, answers = client.send(wire.url, chunkSize=size)
        assert code == 1, answers
        code, answers = client.send(wire.url, chunkSize=size)
    assert (code, answers[-1]) == (0, {"done": True})
    assert answers[0]["method"] == "HEAD"
    assert 12 * MIB - 2 * MIB < answers[0]["offset"] < 12 * MIB
    require_whole(nginx, film, answers[-2]["file"])
