"""The files under clients/: the scripts run against a live server, as a user's shell runs them.

Flameshot, clipboards and notifications cannot run here: programs that record stand in their place.
"""

import configparser
import http.server
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PNG, Person
from tests.live.conftest import PATIENCE, ROOT, Server, free_port, until

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not shutil.which("curl"), reason="needs curl"),
]

CLIENTS = ROOT / "clients"
UPLOAD = CLIENTS / "kissa-upload"
FLAMESHOT = CLIENTS / "flameshot-kissa"
SCRIPTS = (UPLOAD, FLAMESHOT)
SHELLS = ("dash", "bash")
RECORD = '#!/bin/sh\nprintf "%s\\n" "$0 $*" >>"$RECORD.args"\ncat >>"$RECORD"\n'
NOTIFY = '#!/bin/sh\nprintf "%s\\n" "$@" >"$RECORD.notified"\n'
# What the file is called, and what the server keeps: no control characters, the last component.
NAMES = {
    "plain.png": "plain.png",
    "a b.png": "a b.png",
    'a"b.png': 'a"b.png',
    "a'b.png": "a'b.png",
    "a;b.png": "a;b.png",
    "a,b.png": "a,b.png",
    "a=b.png": "a=b.png",
    'x";filename="y.txt': 'x";filename="y.txt',
    "x.png;type=text": "x.png;type=text",
    "a\\b.png": "b.png",
    'a\\"b.png': '"b.png',
    "a\nb.png": "ab.png",
    "end.png\n": "end.png",
    "tab\t.png": "tab.png",
    "-n.png": "-n.png",
    "--help": "--help",
    "@x.png": "@x.png",
    "<x.png": "<x.png",
    "$(id)`id`.png": "$(id)`id`.png",
    "*.png": "*.png",
    "%22%0A.png": '".png',  # undone as what browsers send for a quote and a newline
    "bücher ☕.tar.gz": "bücher ☕.tar.gz",
    "caf\udce9.png": "caf_.png",  # a name in latin-1, as old disks have them
}


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Server]) -> Server:
    return make_server(uploads_per_minute=0)


@pytest.fixture(scope="module")
def alice(server: Server) -> Person:
    return server.person("alice")


class Desk:
    """A user's home, temporary folder and programs, and ways to run the scripts there."""

    def __init__(self, folder: Path, server: Server, person: Person) -> None:
        self.server = server
        self.home = folder / "home"
        self.programs = folder / "programs"
        self.temporary = folder / "temporary"
        self.record = folder / "record"
        self.config = self.home / ".config" / "kissa-upload.conf"
        for path in (self.config.parent, self.programs, self.temporary):
            path.mkdir(parents=True)
        self.environ = {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "RECORD": str(self.record),
            "KISSA_URL": server.url + "/",
            "KISSA_TOKEN": person.token,
            "KISSA_KEY": person.api_key,
        }

    def put(self, program: str, text: str) -> None:
        """Put a program onto the PATH."""
        path = self.programs / program
        path.write_text(text)
        path.chmod(0o755)

    def file(self, name: str, content: bytes = PNG) -> str:
        (self.home / name).write_bytes(content)
        return name

    def configure(self, text: str, mode: int = 0o600) -> None:
        """Move what the environment says into the configuration file."""
        for name in ("KISSA_URL", "KISSA_TOKEN", "KISSA_KEY"):
            text = text.replace(f"${name}", self.environ.pop(name))
        self.config.write_text(text)
        self.config.chmod(mode)

    def run(
        self,
        *arguments: str,
        shell: str = "dash",
        script: Path = UPLOAD,
        stdin: bytes = b"",
        environ: dict[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        ran = subprocess.run(
            [shell, str(script), *arguments],
            cwd=self.home,
            env=self.environ | (environ or {}),
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert not list(self.temporary.iterdir())
        return subprocess.CompletedProcess(
            ran.args,
            ran.returncode,
            ran.stdout.decode(errors="replace"),
            ran.stderr.decode(errors="replace"),
        )

    def link(self, *arguments: str, **more: Any) -> str:
        """The link of an upload that must succeed, without a word beside it."""
        ran = self.run(*arguments, **more)
        assert (ran.returncode, ran.stderr) == (0, "")
        (line,) = ran.stdout.splitlines()
        return line

    def stored(self, link: str) -> tuple[str, bytes]:
        """The original name and the bytes behind a link of the nekos API."""
        name = link.rpartition("/")[2]
        ((original,),) = self.server.rows("SELECT original_name FROM item WHERE name = ?", name)
        return original, self.server.get(f"/f/{name}").content

    def count(self) -> int:
        return int(self.server.rows("SELECT count(*) FROM item")[0][0])


@pytest.fixture
def desk(tmp_path: Path, server: Server, alice: Person) -> Desk:
    return Desk(tmp_path, server, alice)


# Files


@pytest.mark.parametrize("shell", SHELLS)
def test_every_name_arrives(desk: Desk, shell: str) -> None:
    for name in NAMES:
        desk.file(name, b"in " + os.fsencode(name))
    ran = desk.run("--", *NAMES, shell=shell)
    assert (ran.returncode, ran.stderr) == (0, "")
    links = ran.stdout.splitlines()
    stored = [desk.stored(link) for link in links]
    assert stored == [(kept, b"in " + os.fsencode(name)) for name, kept in NAMES.items()]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("gallery", [(), ("-g", "-r", "sfw", "-t", "a, b, c")], ids=["-", "-g"])
def test_into_an_album(desk: Desk, shell: str, gallery: tuple[str, ...]) -> None:
    title = f"Süße {shell} {len(gallery)}"
    ran = desk.run("-a", title, *gallery, desk.file("one.png"), desk.file("two.png"), shell=shell)
    assert ran.returncode == 0
    assert len(ran.stdout.splitlines()) == 2
    ((name, count),) = desk.server.rows(
        "SELECT name, (SELECT count(*) FROM album_item WHERE album_id = id)"
        " FROM album WHERE title = ?", title,
    )  # fmt: skip
    assert count == 2
    assert ran.stderr.splitlines() == [f"kissa-upload: the album: {desk.server.url}/a/{name}"]
    assert desk.run("-q", "-a", title, "one.png", shell=shell).stderr == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_standard_input(desk: Desk, shell: str) -> None:
    content = os.urandom(3_000_000)
    link = desk.link("-", shell=shell, stdin=content)
    assert link.endswith(".txt")
    assert desk.stored(link) == ("stdin.txt", content)
    link = desk.link("-n", '-a";b,\\c☕.log', "-", shell=shell, stdin=b"x")
    assert desk.stored(link) == ("c☕.log", b"x")


def test_a_file_called_dash_and_paths(desk: Desk) -> None:
    desk.file("-", b"dash")
    (desk.home / 'dir "1", 2;').mkdir()
    desk.file('dir "1", 2;/x.png', b"deep")
    assert desk.stored(desk.link("./-", stdin=b"not this")) == ("-", b"dash")
    assert desk.stored(desk.link('dir "1", 2;/x.png')) == ("x.png", b"deep")
    assert desk.stored(desk.link(str(desk.home / 'dir "1", 2;/x.png'))) == ("x.png", b"deep")


def test_a_pipe_is_read(desk: Desk) -> None:
    os.mkfifo(desk.home / "pipe.log")
    writer = threading.Thread(target=(desk.home / "pipe.log").write_bytes, args=(b"flow",))
    writer.start()
    link = desk.link("pipe.log")
    writer.join()
    assert desk.stored(link) == ("pipe.log", b"flow")


@pytest.mark.parametrize("shell", SHELLS)
def test_one_bad_file_does_not_stop_the_rest(desk: Desk, shell: str) -> None:
    good, empty = desk.file("good.png"), desk.file("empty\033[31m.png", b"")
    (desk.home / "folder").mkdir()
    ran = desk.run(good, "gone.png", empty, "folder", "-", shell=shell, stdin=b"last")
    assert ran.returncode == 1
    assert [desk.stored(link)[1] for link in ran.stdout.splitlines()] == [PNG, b"last"]
    assert ran.stderr.splitlines() == [
        "kissa-upload: gone.png: there is no such file",
        "kissa-upload: empty[31m.png: The file is empty.",
        "kissa-upload: folder: this is a folder",
    ]


# The gallery, and what the server says


@pytest.mark.parametrize("shell", SHELLS)
def test_the_gallery_with_every_field(desk: Desk, shell: str) -> None:
    comment = '@home; "quoted", <b> \\ ☕\nsecond line'
    link = desk.link(
        *("-g", "-r", "nsfw", "-t", "cat, @bücher, <x;y", "-c", comment, "-o"),
        desk.file("a;b.png"),
        shell=shell,
    )
    item_id = int(link.removeprefix(desk.server.url + "/"))
    item = desk.server.get(f"/api/v2/items/{item_id}").json()
    assert (item["rating"], item["is_oc"]) == ("nsfw", True)
    assert item["tags"] == sorted(["cat", "@bücher", "<x;y"])
    ((text,),) = desk.server.rows("SELECT text FROM comment WHERE item_id = ?", item_id)
    assert text.replace("\r\n", "\n") == comment
    bare = desk.link("-g", "-r", "sfw", "-t", "a,b,c", "a;b.png", shell=shell)
    assert desk.server.get(f"/api/v2/items/{bare.rpartition('/')[2]}").json()["is_oc"] is False


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "option", [("-e", "7d"), ("--expires", "7d"), ("--expires=7d",), ("-qe7d",)], ids=" ".join
)
def test_files_that_end_by_themselves(desk: Desk, shell: str, option: tuple[str, ...]) -> None:
    ran = desk.run("-C", *option, desk.file("shot.png"), desk.file("other.png"), shell=shell)
    assert (ran.returncode, ran.stderr.count("\n")) == (0, 0)
    names = [link.rpartition("/")[2] for link in ran.stdout.split()]
    assert len(names) == 2
    for name in names:
        query = "SELECT expires - created FROM item WHERE name = ?"
        ((length,),) = desk.server.rows(query, name)
        assert 0 <= 7 * 86_400_000 - length < 60_000


def test_refusals_are_told_in_the_servers_words(desk: Desk, alice: Person) -> None:
    name = desk.file("shot.png")
    wrong = alice.token[:-1] + ("0" if alice.token[-1] != "0" else "1")
    refused = desk.server.post("/api/files/upload", {"token": wrong})
    for arguments, environ, sentence in (
        ((), {"KISSA_TOKEN": wrong}, refused.text),
        (
            ("-g", "-r", "sfw", "-t", "a,b,c"),
            {"KISSA_KEY": "0" * 64},
            "Invalid or inactive API key",
        ),
        (("-g", "-t", "a,b,c"), {}, "Rating (sfw/nsfw/nsfl) is required"),
        (("-g", "-r", "sfw", "-t", "a,a"), {}, "At least 3 tags are required"),
    ):
        ran = desk.run(*arguments, name, environ=environ)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr == f"kissa-upload: shot.png: {sentence}\n"


def test_the_deletion_link(desk: Desk) -> None:
    link, deletion = desk.link("-d", desk.file("shot.png")).split("\t")
    assert desk.stored(link)[1] == PNG
    path = deletion.removeprefix(desk.server.url)
    assert desk.server.get(path).status_code == 200
    assert desk.server.post(path).status_code == 200
    assert desk.server.get(link.removeprefix(desk.server.url)).status_code == 404


def test_the_link_of_the_page(desk: Desk) -> None:
    link, deletion = desk.link("-pd", desk.file("shot.png")).split("\t")
    assert link.startswith(f"{desk.server.url}/v/")
    assert "/delete/" in deletion
    assert ">Open file</a>" in desk.server.get(link.removeprefix(desk.server.url)).text
    gallery = desk.link("-pg", "-r", "sfw", "-t", "a,b,c", desk.file("shot.png"))
    assert re.fullmatch(rf"{re.escape(desk.server.url)}/\d+", gallery)


def test_an_upload_that_waits_for_approval(
    make_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = make_server(gallery_manual_approval=True)
    desk = Desk(tmp_path, server, server.person("alice"))
    arguments = ("-g", "-r", "sfw", "-t", "a,b,c", desk.file("shot.png"))
    ran = desk.run(*arguments)
    assert (ran.returncode, ran.stdout) == (0, f"{server.url}/\n")
    assert "waits for an admin's approval" in ran.stderr
    assert desk.link("-q", *arguments) == f"{server.url}/"


def test_the_server_is_down(desk: Desk) -> None:
    name = desk.file("shot.png")
    ran = desk.run(name, "-", stdin=b"x", environ={"KISSA_URL": f"http://127.0.0.1:{free_port()}"})
    assert (ran.returncode, ran.stdout) == (1, "")
    first, second = ran.stderr.splitlines()
    assert first.startswith("kissa-upload: shot.png: not uploaded; curl: (7) ")
    assert second.startswith("kissa-upload: stdin.txt: not uploaded; curl: (7) ")


class Stranger(http.server.BaseHTTPRequestHandler):
    """A host that is no Kissa: answers with the status and the text that its path asks for."""

    answers = {  # noqa: RUF012
        "page": (200, "<html>welcome</html>"),
        "two": (200, "http://a.example/1\nhttp://a.example/2\n"),
        "old": (200, "http://a.example/1.png\n"),
        "moved": (301, ""),
        "proxy": (502, "<html>Bad Gateway</html>"),
        "ansi": (400, "\033[31mNo\007.\n"),
        "json": (400, '{"success": false, "msg": "Say \\"please\\" \\\\o/"}'),
    }

    def do_POST(self) -> None:
        status, text = self.answers[self.path.split("/")[1]]
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(status)
        self.send_header("Location", "https://elsewhere.example/")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as host:
        thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{host.server_port}"
        host.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("page", "the answer is no link; is KISSA_URL the address of a Kissa host?"),
        ("two", "the answer is no link; is KISSA_URL the address of a Kissa host?"),
        ("moved", "the host sends us elsewhere (https://elsewhere.example/); correct KISSA_URL"),
        ("proxy", "the server refused it (status 502)"),
        ("ansi", "[31mNo."),
        ("json", 'Say "please" \\o/'),
    ],
)
def test_strange_answers(desk: Desk, stranger: str, path: str, sentence: str) -> None:
    ran = desk.run(desk.file("shot.png"), environ={"KISSA_URL": f"{stranger}/{path}"})
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"kissa-upload: shot.png: {sentence}\n"


def test_a_host_without_pages_gives_the_link_of_the_file(desk: Desk, stranger: str) -> None:
    ran = desk.run("-p", desk.file("shot.png"), environ={"KISSA_URL": f"{stranger}/old"})
    assert (ran.returncode, ran.stdout) == (0, "http://a.example/1.png\n")
    assert "the host tells of no page" in ran.stderr


# Configuration


@pytest.mark.parametrize("shell", SHELLS)
def test_the_configuration_file(desk: Desk, shell: str) -> None:
    name = desk.file("shot.png")
    desk.configure("# mine\r\n\r\nKISSA_URL='$KISSA_URL'\r\nKISSA_TOKEN=\"$KISSA_TOKEN\"\r\n")
    assert desk.stored(desk.link(name, shell=shell))[1] == PNG
    ran = desk.run("-g", name, shell=shell)
    assert ran.returncode == 3
    assert ran.stderr == (
        f"kissa-upload: KISSA_KEY is not set, neither in the environment nor in {desk.config}\n"
    )
    assert desk.run(name, environ={"KISSA_TOKEN": "0" * 8}, shell=shell).returncode == 1  # it wins


def test_another_configuration_folder(desk: Desk) -> None:
    folder = desk.home / "it's here"
    folder.mkdir()
    desk.config = folder / "kissa-upload.conf"
    desk.configure("KISSA_URL=$KISSA_URL\nKISSA_TOKEN=$KISSA_TOKEN", 0o644)
    name = desk.file("shot.png")
    ran = desk.run(name, environ={"XDG_CONFIG_HOME": str(folder)})
    assert ran.returncode == 3
    line = ran.stderr.partition("run: ")[2].strip()
    assert line.startswith("chmod 600 ")
    subprocess.run(["dash", "-c", line], check=True)
    assert desk.link(name, environ={"XDG_CONFIG_HOME": str(folder)})


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o620, 0o644])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_configuration_open_to_others_is_refused(desk: Desk, shell: str, mode: int) -> None:
    token = desk.environ["KISSA_TOKEN"]
    desk.configure("KISSA_URL=$KISSA_URL\nKISSA_TOKEN=$KISSA_TOKEN\n", mode)
    before = desk.count()
    ran = desk.run(desk.file("shot.png"), shell=shell)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert f"run: chmod 600 '{desk.config}'\n" in ran.stderr
    assert token not in ran.stderr
    assert desk.count() == before


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"KISSA_URL": ""}, "KISSA_URL is not set"),
        ({"KISSA_TOKEN": ""}, "KISSA_TOKEN is not set"),
        ({"KISSA_URL": "kissa.example"}, "KISSA_URL must begin with https:// or http://"),
        ({"KISSA_URL": "file:///etc/passwd"}, "KISSA_URL must begin with https:// or http://"),
        ({"KISSA_URL": "http://a b"}, "KISSA_URL is no address"),
        ({"KISSA_URL": "http://a/?x"}, "KISSA_URL is no address"),
        ({"KISSA_TOKEN": 'x"\nurl = "http://a.example'}, "KISSA_TOKEN holds characters"),
    ],
)
def test_wrong_configuration(desk: Desk, environ: dict[str, str], told: str) -> None:
    ran = desk.run(desk.file("shot.png"), environ=environ)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert told in ran.stderr
    assert "a.example" not in ran.stderr


def test_a_line_that_is_not_understood_is_not_repeated(desk: Desk) -> None:
    token = desk.environ["KISSA_TOKEN"]
    desk.configure("KISSA_URL=$KISSA_URL\nTOKEN: $KISSA_TOKEN\n")
    ran = desk.run(desk.file("shot.png"))
    assert ran.returncode == 3
    assert f"{desk.config}, line 2: " in ran.stderr
    assert token not in ran.stderr


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-x", "shot.png"),
        ("--what", "shot.png"),
        ("-n",),
        ("-n", "name.png", "shot.png"),
        ("-n", "", "-"),
        ("-r", "sfw", "shot.png"),
        ("-o", "shot.png"),
        ("-", "-"),
        ("--expires",),
        ("-e",),
    ],
    ids=" ".join,
)
def test_wrong_usage(desk: Desk, shell: str, arguments: tuple[str, ...]) -> None:
    ran = desk.run(*arguments, shell=shell)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("kissa-upload: ")
    assert ran.stderr.endswith("(kissa-upload -h helps)\n")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_option(desk: Desk, option: str) -> None:
    shown = desk.run(option).stdout
    options = re.search(r"getopts (\S+)", UPLOAD.read_text())
    assert options
    letters = re.sub("[:-]", "", options[1])
    for letter in letters:
        assert re.search(rf"^  -{letter} ", shown, re.MULTILINE), letter
    documented = (ROOT / "docs" / "clients.md").read_text()
    assert all(f"`-{letter}" in documented for letter in letters)


def test_version(desk: Desk) -> None:
    assert re.fullmatch(r"kissa-upload \d+\.\d+\.\d+", desk.link("-V"))
    assert desk.link("-V") == desk.link("--version")


# Secrets, terminals, signals


def command_lines() -> Iterator[tuple[int, bytes]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes()
            except OSError:
                continue


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("option", ["-q", "-qg"])
def test_the_secret_is_on_no_command_line_and_in_no_file(
    desk: Desk, shell: str, option: str
) -> None:
    (desk.home / ".curlrc").write_text("limit-rate = 100k\n")
    name = desk.file("slow.png", bytes(3_000_000))
    running = subprocess.Popen(
        [shell, str(UPLOAD), option, name],
        cwd=desk.home,
        env=desk.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )

    def sending() -> list[bytes]:
        return [line for _, line in command_lines() if b"slow.png" in line and b"curl" in line]

    with running:
        until(lambda: any(b"--form" in line for line in sending()), "curl is sending")
        time.sleep(0.2)
        secrets = [desk.environ[one].encode() for one in ("KISSA_TOKEN", "KISSA_KEY")]
        seen = [line for _, line in command_lines()]
        assert any(b"--form" in line for line in seen)
        assert not [line for line in seen if any(secret in line for secret in secrets)]
        kept = [path for path in desk.temporary.rglob("*") if path.is_file()]
        assert kept
        assert not [path for path in kept for secret in secrets if secret in path.read_bytes()]
        assert all(not path.stat().st_mode & 0o077 for path in desk.temporary.rglob("*"))
        os.killpg(running.pid, signal.SIGTERM)
        assert running.wait(PATIENCE) == 143
    assert not list(desk.temporary.iterdir())


def at_a_terminal(desk: Desk, *arguments: str) -> str:
    """What a run that succeeds shows on a terminal."""
    ran = subprocess.run(
        ["script", "-e", "-q", "-c", shlex.join(["dash", str(UPLOAD), *arguments]), "/dev/null"],
        cwd=desk.home,
        env=desk.environ | {"TERM": "xterm", "SHELL": "/bin/sh"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout.decode()


@pytest.mark.skipif(not shutil.which("script"), reason="needs script")
def test_progress_is_for_terminals(desk: Desk) -> None:
    name = desk.file("shot.png", bytes(200_000))
    shown = at_a_terminal(desk, name)
    assert "kissa-upload: shot.png\r\n" in shown
    assert "100.0%" in shown
    quiet = at_a_terminal(desk, "-q", name)
    assert re.fullmatch(re.escape(desk.server.url) + r"/f/\w+\.png\r\n", quiet)


# The clipboard


@pytest.mark.parametrize(
    ("program", "arguments", "display"),
    [
        ("wl-copy", "--type text/plain", {"WAYLAND_DISPLAY": "wayland-1", "DISPLAY": ":0"}),
        ("xclip", "-selection clipboard", {"DISPLAY": ":0"}),
        ("xsel", "--input --clipboard", {"DISPLAY": ":0"}),
        ("pbcopy", "", {}),
        ("termux-clipboard-set", "", {}),
        ("clip.exe", "", {}),
    ],
)
def test_links_go_to_the_clipboard(
    desk: Desk, program: str, arguments: str, display: dict[str, str]
) -> None:
    desk.put(program, RECORD)
    ran = desk.run(desk.file("a.png"), "gone", desk.file("b.png"), environ=display)
    assert ran.returncode == 1
    assert desk.record.read_text() == ran.stdout.rstrip("\n")
    called = Path(f"{desk.record}.args").read_text()
    assert called == f"{desk.programs / program} {arguments}\n"


def test_the_clipboard_is_left_alone(desk: Desk) -> None:
    for program in ("wl-copy", "xclip", "xsel"):
        desk.put(program, RECORD)
    name = desk.file("shot.png")
    desk.link(name)  # no display
    desk.link("-C", name, environ={"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-1"})
    assert desk.run("gone", environ={"DISPLAY": ":0"}).returncode == 1
    assert not desk.record.exists()


def test_deletion_links_do_not_go_to_the_clipboard(desk: Desk) -> None:
    desk.put("xclip", RECORD)
    line = desk.link("-d", desk.file("shot.png"), environ={"DISPLAY": ":0"})
    assert desk.record.read_text() == line.split("\t")[0]


def test_a_clipboard_that_fails_or_stays(desk: Desk) -> None:
    name = desk.file("shot.png")
    desk.put("xclip", "#!/bin/sh\nexit 1\n")
    ran = desk.run(name, environ={"DISPLAY": ":0"})
    assert (ran.returncode, ran.stderr) == (0, "kissa-upload: the clipboard did not take it\n")
    # xclip stays to serve its selection: it must not hold the output open
    desk.put("xclip", "#!/bin/sh\ncat >/dev/null\nsleep 8 &\n")
    began = time.monotonic()
    desk.link(name, environ={"DISPLAY": ":0"})
    assert time.monotonic() - began < 6


# Desktop


def flameshot(emits: str) -> str:
    return f'#!/bin/sh\n[ "$*" = "gui --raw" ] || exit 9\n{emits}\n'


@pytest.fixture
def desktop(desk: Desk) -> Desk:
    """A desk with a display, a clipboard, notifications and a Flameshot that takes a picture."""
    desk.environ["WAYLAND_DISPLAY"] = "wayland-1"
    desk.put("wl-copy", RECORD)
    desk.put("notify-send", NOTIFY)
    (desk.programs / "picture.png").write_bytes(PNG)
    desk.put("flameshot", flameshot(f"cat '{desk.programs}/picture.png'"))
    return desk


def notified(desk: Desk) -> list[str]:
    path = Path(f"{desk.record}.notified")
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("shell", SHELLS)
def test_flameshot_uploads(desktop: Desk, shell: str) -> None:
    link = desktop.link(script=FLAMESHOT, shell=shell)
    name, content = desktop.stored(link)
    assert re.fullmatch(r"screenshot-\d{4}-\d\d-\d\d-\d{6}\.png", name)
    assert content == PNG
    assert desktop.record.read_text() == link
    assert notified(desktop) == ["--app-name=Kissa", "--urgency=normal", "--", "Uploaded", link]
    listed = desktop.link("-g", "-r", "sfw", "-t", "a,b,c", script=FLAMESHOT, shell=shell)
    assert re.fullmatch(r".*/\d+", listed)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "emits",
    [
        "echo 'flameshot: info: Screenshot aborted.' >&2",
        "echo 'screenshot aborted'",
        "echo 'screenshot failed'; exit 1",
        "",
    ],
)
def test_a_cancelled_flameshot_uploads_nothing(desktop: Desk, shell: str, emits: str) -> None:
    desktop.put("flameshot", flameshot(emits))
    before = desktop.count()
    ran = desktop.run(script=FLAMESHOT, shell=shell)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert desktop.count() == before
    assert not notified(desktop)
    assert not desktop.record.exists()


def test_flameshot_tells_what_went_wrong(desktop: Desk) -> None:
    ran = desktop.run("-g", "-r", "sfw", "-t", "<a>&b", script=FLAMESHOT)
    assert ran.returncode == 1
    urgency, _, title, text = notified(desktop)[1:]
    assert (urgency, title) == ("--urgency=critical", "Not uploaded")
    assert text.endswith(".png: At least 3 tags are required")
    assert desktop.run(script=FLAMESHOT, environ={"KISSA_TOKEN": ""}).returncode == 3
    assert "KISSA_TOKEN is not set" in notified(desktop)[-1]
    (desktop.programs / "flameshot").unlink()
    if not shutil.which("flameshot", path=desktop.environ["PATH"]):
        assert desktop.run(script=FLAMESHOT).returncode == 3
        assert notified(desktop)[-1] == "flameshot is missing; install it"


def test_a_notification_without_notify_send_and_its_markup(desktop: Desk) -> None:
    name = desktop.file("<b>&.png", b"")
    ran = desktop.run("-N", name, desktop.file("good.png"))
    assert ran.returncode == 1
    assert notified(desktop)[3:] == [
        "Not all uploaded",
        "&lt;b&gt;&amp;.png: The file is empty.",
        ran.stdout.strip(),
    ]
    (desktop.programs / "notify-send").unlink()
    if not shutil.which("notify-send", path=desktop.environ["PATH"]):
        desktop.link("-N", "good.png")


def desktop_entry(name: str) -> configparser.ConfigParser:
    entry = configparser.ConfigParser(interpolation=None)
    entry.optionxform = str  # type: ignore[assignment,method-assign]
    entry.read(CLIENTS / name)
    return entry


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("kissa-upload.desktop", "Desktop Entry"),
        ("kissa-servicemenu.desktop", "Desktop Action kissaUpload"),
    ],
)
def test_the_command_of_a_desktop_entry(desktop: Desk, name: str, section: str) -> None:
    (desktop.programs / "kissa-upload").symlink_to(UPLOAD)
    program, *arguments = shlex.split(desktop_entry(name)[section]["Exec"])
    assert program == "kissa-upload"
    assert arguments.pop() == "%F"
    files = [desktop.file("-o.png"), desktop.file("a b.png")]
    ran = desktop.run(*arguments, *files, script=desktop.programs / program)
    assert ran.returncode == 0
    assert notified(desktop)[3:] == ["Uploaded", *ran.stdout.splitlines()]


@pytest.mark.skipif(not shutil.which("desktop-file-validate"), reason="needs desktop-file-utils")
@pytest.mark.parametrize("path", sorted(CLIENTS.glob("*.desktop")), ids=lambda path: path.name)
def test_desktop_entries_are_valid(path: Path) -> None:
    ran = subprocess.run(
        ["desktop-file-validate", path],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    # KDE's service menus are of a type of their own, of which the validator knows no keys.
    foreign = 'but the type is "Service" while this key is only valid for type "Application"'
    assert [line for line in ran.stdout.splitlines() if not line.endswith(foreign)] == []


# The files themselves


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(script: Path) -> None:
    ran = subprocess.run(
        ["shellcheck", "--severity=style", script],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "")


def test_scripts_and_the_service_menu_are_executable() -> None:
    for path in (*SCRIPTS, CLIENTS / "kissa-servicemenu.desktop"):  # KDE asks for it
        assert os.access(path, os.X_OK), path.name
    assert all(path.read_text().startswith("#!/bin/sh\n") for path in SCRIPTS)


def test_the_iscu_of_the_documentation(desk: Desk) -> None:
    (text,) = re.findall(
        r"```json\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL
    )
    iscu = json.loads(text)
    path = iscu["requestURL"].removeprefix("https://kissa.example")
    assert iscu["requestBodyType"] == "multipartFormData"
    assert list(iscu["headers"]) == ["token"]
    headers = {"token": desk.environ["KISSA_TOKEN"]}
    answer = desk.server.ask(path, headers, files={iscu["fileFormName"]: ("a.png", PNG)})
    assert desk.stored(answer[iscu["responseURL"].strip("{}")])[1] == PNG
