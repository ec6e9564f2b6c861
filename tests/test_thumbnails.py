"""Thumbnails by the real child process: what they show, what they refuse, when they go.

The pictures are made, and what became of them is looked at, by Pillow: another decoder than the
one that makes the thumbnails.
"""

import dataclasses
import io
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from werkzeug.test import TestResponse

import accounts
import items
import models
import sessions
import thumbnails
import upkeep
from models import Item, User
from storage_local import LocalStorage
from tests.conftest import Kissa, Person

RED, BLUE = (220, 30, 30), (30, 30, 220)
FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "webp": "WEBP", "avif": "AVIF"}
ORIENTATION, GPS = 0x0112, 0x8825
SVG = b"""<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">
<image href="file:///etc/passwd"/><script>alert(1)</script></svg>"""


def halves(width: int = 800, height: int = 600, mode: str = "RGB") -> Image.Image:
    """A picture whose upper half is red and whose lower half is blue."""
    image = Image.new("RGB", (width, height), BLUE)
    ImageDraw.Draw(image).rectangle((0, 0, width, height // 2 - 1), RED)
    return image.convert(mode)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def bomb(width: int, height: int) -> bytes:
    """A small PNG that claims, and holds, very many black pixels."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header), png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def is_near(pixel: Any, colour: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 40 for a, b in zip(pixel[:3], colour, strict=True))


def opened(response: TestResponse) -> Image.Image:
    assert response.status_code == 200, response.text
    image = Image.open(io.BytesIO(response.data))
    assert image.format == "WEBP"
    return image


@pytest.fixture
def store(kissa: Kissa) -> LocalStorage:
    return kissa.folder


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each child that is started."""
    started: list[str] = []
    run = thumbnails._run

    def counted(kind: str, source: int, target: int) -> tuple[int, int] | None:
        started.append(kind)
        return run(kind, source, target)

    monkeypatch.setattr(thumbnails, "_run", counted)
    return started


def limit(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    monkeypatch.setattr(thumbnails, "LIMITS", dataclasses.replace(thumbnails.LIMITS, **changed))


def sign_in(kissa: Kissa, person: Person) -> None:
    secret = sessions.begin(User.get(User.username == person.username), "tests")
    kissa.client.set_cookie("kissa", secret)


def kept(kissa: Kissa) -> set[str]:
    """What lies in the folder of thumbnails."""
    return {path.name for path in (kissa.uploads / ".thumbnails").iterdir()}


def refused(kissa: Kissa, person: Person, content: bytes, name: str = "shot.png") -> str:
    """The stored name of an upload that turned out to have no thumbnail."""
    name = kissa.upload_name(person, content, name)
    assert kissa.get(f"/t/{name}").status_code == 404
    assert kept(kissa) == {f"{name}.none"}
    assert (kissa.uploads / ".thumbnails" / f"{name}.none").stat().st_size == 0
    assert Item.get(Item.name == name).width is None
    return name


# What they show


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_format(kissa: Kissa, alice: Person, suffix: str) -> None:
    name = kissa.upload_name(alice, encoded(halves(), FORMATS[suffix]), f"a.{suffix}")
    response = kissa.get(f"/t/{name}")
    image = opened(response)
    assert image.size == (400, 300)
    assert is_near(image.convert("RGB").getpixel((200, 50)), RED)
    assert is_near(image.convert("RGB").getpixel((200, 250)), BLUE)
    item = Item.get(Item.name == name)
    assert (item.width, item.height) == (800, 600)
    assert response.content_type == "image/webp"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert response.headers["Cache-Control"] == "no-cache"
    again = kissa.get(f"/t/{name}", {"If-None-Match": response.headers["ETag"]})
    assert again.status_code == 304
    assert (kissa.uploads / ".thumbnails" / f"{name}.webp").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("mode", "form"),
    [("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("I;16", "PNG"), ("CMYK", "JPEG")],
)
def test_each_kind_of_pixel(kissa: Kissa, alice: Person, mode: str, form: str) -> None:
    picture = halves(40, 30, "L").convert(mode) if mode == "I;16" else halves(40, 30, mode)
    name = kissa.upload_name(alice, encoded(picture, form), f"a.{form.lower()}")
    name = name if form == "PNG" else kissa.upload_name(alice, encoded(picture, form), "a.jpg")
    assert opened(kissa.get(f"/t/{name}")).size == (40, 30)  # never larger than the original


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(kissa: Kissa, alice: Person, orientation: int) -> None:
    # How a camera held in some way stores the same scene (Exif 2.32, 4.6.4).
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    scene = halves(800, 400)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture = scene if stored is None else scene.transpose(stored)
    name = kissa.upload_name(alice, encoded(picture, "JPEG", exif=exif), "a.jpg")
    image = opened(kissa.get(f"/t/{name}")).convert("RGB")
    assert image.size == (400, 200)
    assert is_near(image.getpixel((200, 20)), RED)
    assert is_near(image.getpixel((200, 180)), BLUE)
    item = Item.get(Item.name == name)
    assert (item.width, item.height) == (800, 400)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF"])
def test_alpha_is_kept(kissa: Kissa, alice: Person, form: str) -> None:
    picture = Image.new("RGBA", (600, 600), (*RED, 0))
    ImageDraw.Draw(picture).rectangle((300, 0, 599, 599), (*RED, 255))
    name = kissa.upload_name(alice, encoded(picture, form), f"a.{form.lower()}")
    image = opened(kissa.get(f"/t/{name}")).convert("RGBA")
    assert image.getpixel((50, 200))[3] == 0  # type: ignore[index]
    assert image.getpixel((350, 200))[3] == 255  # type: ignore[index]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_what_moves(kissa: Kissa, alice: Person, form: str) -> None:
    frames = [Image.new("RGB", (500, 300), colour) for colour in (RED, BLUE, BLUE)]
    moving = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100)
    name = kissa.upload_name(alice, moving, f"a.{form.lower()}")
    image = opened(kissa.get(f"/t/{name}"))
    assert (image.size, getattr(image, "n_frames", 1)) == ((400, 240), 1)
    assert is_near(image.convert("RGB").getpixel((200, 120)), RED)
    item = Item.get(Item.name == name)
    assert (item.width, item.height) == (500, 300)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_no_metadata(kissa: Kissa, alice: Person, form: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "the secret place"
    exif.get_ifd(GPS)[2] = (52.0, 31.0, 12.0)
    options = {"exif": exif, "icc_profile": b"", "xmp": b"<x>the secret place</x>"}
    content = encoded(halves(), form, **options)
    assert b"secret place" in content
    name = kissa.upload_name(alice, content, f"a.{form.lower().replace('jpeg', 'jpg')}")
    response = kissa.get(f"/t/{name}")
    assert not opened(response).getexif()
    for chunk in (b"secret", b"EXIF", b"Exif", b"XMP ", b"ICCP"):
        assert chunk not in response.data


@pytest.mark.sqlite  # no matter of the database
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(("suffix", "seconds"), [("mp4", "3"), ("webm", "0.4")])
def test_frame_of_a_video(
    kissa: Kissa, alice: Person, tmp_path: Path, suffix: str, seconds: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=red:s=640x360:r=10"]
    subprocess.run([*command, "-t", seconds, "-pix_fmt", "yuv420p", path], check=True)
    name = kissa.upload_name(alice, path.read_bytes(), path.name)
    image = opened(kissa.get(f"/t/{name}"))
    assert image.size == (400, 225)
    assert is_near(image.convert("RGB").getpixel((200, 100)), (254, 0, 0))
    item = Item.get(Item.name == name)
    assert (item.width, item.height) == (640, 360)
    refused_name = kissa.upload_name(alice, path.read_bytes()[:300], path.name)
    assert kissa.get(f"/t/{refused_name}").status_code == 404


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"\0\0\0\x18ftypmp42" + b"\0" * 200,
    ],
    ids=["m3u8", "concat", "empty-mp4"],
)
def test_video_that_is_none(kissa: Kissa, alice: Person, content: bytes) -> None:
    refused(kissa, alice, content, "a.mp4")


def test_video_without_ffmpeg(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch, runs: list[str]
) -> None:
    monkeypatch.setattr(thumbnails, "find_ffmpeg", lambda: None)
    name = kissa.upload_name(alice, b"\0\0\0\x18ftypmp42", "a.mp4")
    assert kissa.get(f"/t/{name}").status_code == 404
    assert (runs, kept(kissa)) == ([], set())  # ffmpeg may be installed tomorrow


# What they refuse


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"This is only text.\n" * 50, "text.png"),
        (SVG, "drawing.png"),
        (b"<?php phpinfo(); ?>", "shell.jpg"),
        (b"%PDF-1.7\n%\xe2\xe3\n", "paper.png"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "postscript.jpg"),
        (b"push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/'\n", "magick.png"),
        (b"\x89PNG\r\n\x1a\n", "magic.png"),
        (encoded(halves())[:-200], "cut.png"),
        (encoded(halves(), "JPEG")[:-2000], "cut.jpg"),
        (encoded(halves(), "WEBP")[:200], "cut.webp"),
        (encoded(halves(90, 90), "TIFF"), "tiff.png"),
        (encoded(halves(90, 90), "BMP"), "bitmap.png"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_picture(kissa: Kissa, alice: Person, content: bytes, name: str) -> None:
    refused(kissa, alice, content, name)


def test_wrong_extension_is_no_matter(kissa: Kissa, alice: Person) -> None:
    name = kissa.upload_name(alice, encoded(halves(), "JPEG"), "photo.png")  # browsers show it too
    assert opened(kissa.get(f"/t/{name}")).size == (400, 300)


@pytest.mark.parametrize("name", ["drawing.svg", "page.html", "notes.txt", "song.mp3", "file", "a"])
def test_kinds_without(kissa: Kissa, alice: Person, runs: list[str], name: str) -> None:
    stored = kissa.upload_name(alice, encoded(halves()), name)
    assert kissa.get(f"/t/{stored}").status_code == 404
    assert (runs, kept(kissa)) == ([], set())


@pytest.mark.sqlite  # no matter of the database
def test_decompression_bomb_is_not_decoded(kissa: Kissa, alice: Person) -> None:
    content = bomb(40_000, 40_000)
    assert len(content) < 250_000
    name = kissa.upload_name(alice, content)
    began = time.monotonic()
    assert kissa.get(f"/t/{name}").status_code == 404
    assert time.monotonic() - began < 5
    assert kept(kissa) == {f"{name}.none"}


def test_pixels_up_to_the_limit(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, pixels=480_000)
    name = kissa.upload_name(alice, encoded(halves(800, 600)))
    assert kissa.get(f"/t/{name}").status_code == 200
    limit(monkeypatch, pixels=479_999)
    name = kissa.upload_name(alice, encoded(halves(800, 600)))
    assert kissa.get(f"/t/{name}").status_code == 404


def test_time_is_limited(kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, seconds=0.03)
    began = time.monotonic()
    refused(kissa, alice, bomb(9_999, 9_999))
    assert time.monotonic() - began < 3


def test_processor_time_is_limited(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, cpu=1)
    name = kissa.upload_name(alice, bomb(9_999, 9_999))
    assert kissa.get(f"/t/{name}").status_code == 200  # that much is done within a second
    limit(monkeypatch, cpu=0)
    name = kissa.upload_name(alice, encoded(halves()))
    assert kissa.get(f"/t/{name}").status_code == 404


@pytest.mark.sqlite  # no matter of the database
def test_memory_is_limited(kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = encoded(Image.new("RGB", (5000, 5000), RED), "AVIF", speed=10)
    small, large, again = (
        kissa.upload_name(alice, content, "a.avif")
        for content in (encoded(halves()), picture, picture)
    )
    with monkeypatch.context() as limited:
        limit(limited, memory=256 * 1024 * 1024)
        assert kissa.get(f"/t/{small}").status_code == 200
        assert kissa.get(f"/t/{large}").status_code == 404
    assert kissa.get(f"/t/{large}").status_code == 404
    assert kissa.get(f"/t/{again}").status_code == 200


def test_failure_is_remembered(kissa: Kissa, alice: Person, runs: list[str]) -> None:
    name = refused(kissa, alice, b"no picture")
    assert runs == ["image"]
    for _ in range(3):
        assert kissa.get(f"/t/{name}").status_code == 404
    assert runs == ["image"]


def test_broken_installation_is_not_the_files_fault(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = kissa.upload_name(alice, encoded(halves()))
    with monkeypatch.context() as broken:
        broken.setattr(thumbnails, "_CHILD", "/nonexistent.py")
        assert kissa.get(f"/t/{name}").status_code == 503
    assert kept(kissa) == set()
    assert kissa.get(f"/t/{name}").status_code == 200


def test_folder_cleared_meanwhile(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, run = kissa.upload_name(alice, encoded(halves())), thumbnails._run

    def run_then_clear(*args: Any) -> tuple[int, int] | None:
        size = run(*args)
        for path in (kissa.uploads / ".thumbnails").iterdir():
            path.unlink()
        return size

    with monkeypatch.context() as patched:
        patched.setattr(thumbnails, "_run", run_then_clear)
        assert kissa.get(f"/t/{name}").status_code == 503
    assert kissa.get(f"/t/{name}").status_code == 200


def test_child_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KISSA_ACCOUNTS_ADMIN_KEY", "an admin key of good length")
    assert not [name for name in thumbnails._environment() if name.startswith("KISSA")]


def test_child_runs_under_its_limits(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a child that was taken over finds: its limits, no other file of ours open."""
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import os, resource, runpy, sys\n"
        f"sys.argv[0] = {thumbnails._CHILD!r}\n"
        f"module = runpy.run_path({thumbnails._CHILD!r})\n"
        "import subprocess\n"
        "kind, *numbers = sys.argv[1:8]\n"
        "status = module['main'](kind, *map(int, numbers), '')\n"
        "names = ('CPU', 'AS', 'FSIZE', 'NOFILE', 'CORE')\n"
        "limits = [resource.getrlimit(getattr(resource, f'RLIMIT_{name}')) for name in names]\n"
        "links = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')\n"
        "         if os.path.lexists(f'/proc/self/fd/{fd}')]\n"
        "files = [f'/proc/self/{name}' for name in ('oom_score_adj', 'autogroup')]\n"
        "kernel = [open(file).read().split()[-1] for file in files if os.path.exists(file)]\n"
        f"open({str(tmp_path / 'seen')!r}, 'w').write(repr((limits, os.nice(0), kernel, links)))\n"
        "sys.exit(status)\n"
    )
    monkeypatch.setattr(thumbnails, "_CHILD", str(spy))
    name = kissa.upload_name(alice, encoded(halves()))
    assert kissa.get(f"/t/{name}").status_code == 200
    limits, nice, kernel, links = eval((tmp_path / "seen").read_text())
    one = 1024 * 1024
    assert limits == [(10, 10), (1024 * one, 1024 * one), (one, one), (32, 32), (0, 0)]
    assert nice >= 10
    # First to be ended where memory ends; and nice as a whole session, not within it alone.
    assert kernel in (["1000", "10"], ["1000"])
    ours = {link for link in links if str(tmp_path) in link}
    assert len(ours) == 2
    assert f"{kissa.uploads}/{name}" in ours


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_priority_that_is_not_granted(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As under a system call filter that forbids setpriority: made all the same."""
    log, fenced = tmp_path / "strace.log", tmp_path / "fenced.py"
    fault = "inject=setpriority:error=EPERM"
    strace = ["strace", "-o", str(log), "-e", fault, sys.executable, "-I", thumbnails._CHILD]
    fenced.write_text(f"import os, sys\nos.execvp('strace', {strace!r} + sys.argv[1:])\n")
    monkeypatch.setattr(thumbnails, "_CHILD", str(fenced))
    name = kissa.upload_name(alice, encoded(halves()))
    assert kissa.get(f"/t/{name}").status_code == 200
    assert "(INJECTED)" in log.read_text()


# When they go


def test_delete_takes_it_along(kissa: Kissa, alice: Person) -> None:
    names = [kissa.upload_name(alice, content) for content in (encoded(halves()), b"none")]
    for name in names:
        kissa.get(f"/t/{name}")
    assert kept(kissa) == {f"{names[0]}.webp", f"{names[1]}.none"}
    for name in names:
        kissa.post("/api/files/delete", alice.by_token | {"file": name})
        assert kissa.get(f"/t/{name}").status_code == 404
    assert kissa.files() == set()


@pytest.mark.parametrize("act", ["take down", "delete item", "deletion link", "purge"])
def test_each_end_takes_it_along(kissa: Kissa, alice: Person, admin: Person, act: str) -> None:
    response = kissa.list_item(alice, encoded(halves()))
    item = Item.get_by_id(response.get_json()["itemid"])
    assert kissa.get(f"/t/{item.name}").status_code == 200
    if act == "take down":
        kissa.client.delete(f"/api/v2/items/{item.id}", headers=admin.by_admin_token)
    elif act == "delete item":
        kissa.client.delete(f"/api/v2/items/{item.id}", headers=alice.by_key)
    elif act == "deletion link":
        path = response.headers["X-Deletion-URL"].removeprefix("http://kissa.example")
        kissa.post(path)
    else:
        kissa.post("/api/user/delete", alice.by_password)
    assert kissa.get(f"/t/{item.name}").status_code == 404
    assert kissa.files() == set()


def test_waiting_thumbnail(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval=True)
    alice, bob = kissa.person("alice"), kissa.person("bob")
    admin = kissa.person("admin", admin=True)
    item = Item.get_by_id(kissa.item_id(alice, content=encoded(halves())))
    path = f"/waiting/{item.id}/thumbnail"
    assert kissa.get(f"/t/{item.name}").status_code == 404
    assert kissa.get(f"/t/_{item.pending_name}").status_code == 404
    assert kissa.get(path).status_code == 303  # to the sign-in
    sign_in(kissa, bob)
    assert kissa.get(path).status_code == 404
    assert kept(kissa) == set()
    for person in (alice, admin):
        sign_in(kissa, person)
        response = kissa.get(path)
        assert opened(response).size == (400, 300)
        assert response.headers["Cache-Control"] == "private, no-store"
    assert kept(kissa) == {f"_{item.pending_name}.webp"}
    assert kissa.get(f"/t/_{item.pending_name}").status_code == 404
    assert kissa.get("/waiting/x/thumbnail").status_code == 404
    assert kissa.get(f"/waiting/{'9' * 30}/thumbnail").status_code == 404


def test_approval_and_rejection_drop_the_waiting_one(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval=True)
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    sign_in(kissa, alice)
    approved, rejected = (kissa.item_id(alice, content=encoded(halves())) for _ in range(2))
    for item_id in (approved, rejected):
        assert kissa.get(f"/waiting/{item_id}/thumbnail").status_code == 200
    assert len(kept(kissa)) == 2
    kissa.post(f"/api/v2/queue/{approved}/approve", admin.by_admin_token)
    kissa.post(f"/api/v2/queue/{rejected}/reject", admin.by_admin_token)
    assert kept(kissa) == set()
    for item_id in (approved, rejected):
        assert kissa.get(f"/waiting/{item_id}/thumbnail").status_code == 404
    name = Item.get_by_id(approved).name
    assert kissa.get(f"/t/{name}").status_code == 200
    assert kept(kissa) == {f"{name}.webp"}
    assert kissa.get(f"/t/{Item.get_by_id(rejected).name}").status_code == 404
    assert len(kissa.files()) == 2


@pytest.mark.parametrize("content", [encoded(halves()), b"none"], ids=["picture", "none"])
@pytest.mark.parametrize("act", ["delete", "mark", "purge"])
def test_delete_while_it_is_made(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch, act: str, content: bytes
) -> None:
    """The file goes when the child has just ended: nothing may come to lie there any more."""
    name = kissa.upload_name(alice, content)
    store, run = kissa.services.storage, thumbnails._run

    def run_then_delete(*args: Any) -> tuple[int, int] | None:
        size = run(*args)
        user = User.get(User.username == "alice")
        if act == "delete":
            items.delete_own(store, user, name)
        elif act == "purge":
            accounts.delete(store, user)
        else:  # an account's end that has unlinked, and not come to the rows yet
            models.write(lambda: User.update(is_deleting=True).execute())
            store.delete(name)
        return size

    monkeypatch.setattr(thumbnails, "_run", run_then_delete)
    assert kissa.get(f"/t/{name}").status_code == 404
    assert kissa.files() == set()


def test_approval_while_it_is_made(
    start: Callable[..., Kissa], monkeypatch: pytest.MonkeyPatch
) -> None:
    kissa = start(gallery_manual_approval=True)
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    item_id = kissa.item_id(alice, content=encoded(halves()))
    run = thumbnails._run
    sign_in(kissa, alice)

    def run_then_approve(*args: Any) -> tuple[int, int] | None:
        size = run(*args)
        kissa.app.test_client().post(
            f"/api/v2/queue/{item_id}/approve", headers=admin.by_admin_token
        )
        return size

    monkeypatch.setattr(thumbnails, "_run", run_then_approve)
    assert kissa.get(f"/waiting/{item_id}/thumbnail").status_code == 404
    assert kissa.files() == {Item.get_by_id(item_id).name}


def test_race_of_delete_against_making(kissa: Kissa, alice: Person) -> None:
    left = 0
    for _ in range(20):
        name = kissa.upload_name(alice, encoded(halves(60, 40)))
        client = kissa.app.test_client()
        ask = threading.Thread(target=lambda n=name, c=client: c.get(f"/t/{n}").close())
        ask.start()
        time.sleep(int.from_bytes(os.urandom(1)) / 255 * 0.2)
        kissa.post("/api/files/delete", alice.by_token | {"file": name})
        assert kissa.get(f"/t/{name}").status_code == 404
        ask.join()
        left += len(kissa.files())
    print(f"races=20 left={left}")
    assert left == 0


def test_sweep(kissa: Kissa, alice: Person, store: LocalStorage) -> None:
    kept_name, lost = (kissa.upload_name(alice, encoded(halves())) for _ in range(2))
    for name in (kept_name, lost):
        kissa.get(f"/t/{name}")
    (kissa.uploads / lost).unlink()
    folder = kissa.uploads / ".thumbnails"
    orphans = {f"{lost}.webp", "abcdefg.png.webp", "abcdefg.png.none", f"_{'h' * 32}.webp"}
    orphans |= {"u" * 32}  # unfinished
    for orphan in orphans:
        (folder / orphan).touch()
    (folder / "README").touch()
    found = upkeep.look(store)
    assert found.thumbnails == []  # younger than an hour
    found = upkeep.look(store, young=True)
    assert set(found.thumbnails) == orphans
    assert (found.orphans, found.files) == ([], 1)
    assert upkeep.remove(store, found) == len(orphans)
    assert kept(kissa) == {f"{kept_name}.webp", "README"}


def test_thumbnails_of_waiting_items_are_not_swept(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval=True)
    alice = kissa.person("alice")
    item_id = kissa.item_id(alice, content=encoded(halves()))
    sign_in(kissa, alice)
    kissa.get(f"/waiting/{item_id}/thumbnail")
    found = upkeep.look(kissa.services.storage, young=True)
    assert (found.thumbnails, len(kept(kissa))) == ([], 1)


# Many at once


def test_more_than_may_wait(
    kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch, runs: list[str]
) -> None:
    """One is made, four wait, the others are asked to come again; an upload goes on meanwhile."""
    names = [kissa.upload_name(alice, encoded(halves(60 + i, 60))) for i in range(8)]
    run, go = thumbnails._run, threading.Event()

    def slow(*args: Any) -> tuple[int, int] | None:
        assert go.wait(20)
        return run(*args)

    monkeypatch.setattr(thumbnails, "_run", slow)
    answers: dict[str, TestResponse] = {}

    def ask(name: str) -> None:
        answers[name] = kissa.app.test_client().get(f"/t/{name}", buffered=True)

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(answers) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [answer.status_code for answer in answers.values()] == [503] * 3
    assert {answer.headers["Retry-After"] for answer in answers.values()} == {"1"}
    kissa.upload_name(alice)
    go.set()
    for thread in threads:
        thread.join()
    codes = sorted(answer.status_code for answer in answers.values())
    assert codes == [200] * 5 + [503] * 3
    assert len(runs) == 5


def test_patience_ends(kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "PATIENCE", 0.05)
    name = kissa.upload_name(alice, encoded(halves()))
    with thumbnails._turns.take():
        response = kissa.get(f"/t/{name}")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


def test_same_one_is_made_once(kissa: Kissa, alice: Person, runs: list[str]) -> None:
    name = kissa.upload_name(alice, encoded(halves()))
    codes: list[int] = []

    def ask() -> None:
        response = kissa.app.test_client().get(f"/t/{name}", buffered=True)
        codes.append(response.status_code)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (codes, runs) == ([200] * 5, ["image"])


def test_full_disk(kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from errors import NoSpace

    def full(size: int = 0) -> None:
        raise NoSpace("There is no space left on this server.")

    name = kissa.upload_name(alice, encoded(halves()))
    with monkeypatch.context() as patched:
        patched.setattr(kissa.services.storage, "require_space", full)
        assert kissa.get(f"/t/{name}").status_code == 507
    assert kept(kissa) == set()
    assert kissa.get(f"/t/{name}").status_code == 200


# Where they are told


def test_api_tells_where(kissa: Kissa, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.mp4", "c.txt", "d.svg"):
        kissa.item_id(alice, content=encoded(halves()), name=name)

    def told() -> list[str | None]:
        entries = kissa.get("/api/v2/items").get_json()["items"]
        for entry in entries:
            public = entry["file"].rpartition("/")[2]
            assert entry["thumbnail"] in (None, f"http://kissa.example/t/{public}")
        return [entry["thumbnail"] and entry["thumbnail"][-3:] for entry in reversed(entries)]

    monkeypatch.setattr(thumbnails, "find_ffmpeg", lambda: None)
    assert told() == ["png", None, None, None]
    monkeypatch.setattr(thumbnails, "find_ffmpeg", lambda: "/usr/bin/ffmpeg")
    assert told() == ["png", "mp4", None, None]


def test_api_tells_nothing_while_waiting(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_manual_approval=True)
    alice, admin = kissa.person("alice"), kissa.person("admin", admin=True)
    kissa.item_id(alice, content=encoded(halves()))
    queue = kissa.get("/api/v2/queue", admin.by_admin_token).get_json()["items"]
    assert [entry["thumbnail"] for entry in queue] == [None]


def test_unlisted_and_hidden_gallery(start: Callable[..., Kissa]) -> None:
    kissa = start(gallery_visitors="none")
    alice = kissa.person("alice")
    name = kissa.upload_name(alice, encoded(halves()))
    assert kissa.get(f"/t/{name}").status_code == 200  # as /f/NAME


@pytest.mark.parametrize("name", ["nothing1.png", "x", "a%2e%2e", "..%2fkissa.db", "%00", "%ff"])
def test_unknown_names(kissa: Kissa, runs: list[str], name: str) -> None:
    assert kissa.get(f"/t/{name}").status_code == 404
    assert runs == []
