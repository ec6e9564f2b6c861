"""A lived-in Kissa, so that every page has something to show: people, items of every kind and
state, comments, reports."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.conftest import Person
from tests.live.browser import Site
from tests.live.pictures import picture
from thumbnails import find_ffmpeg

LONG = "a-name-without-any-blank-that-goes-on-and-on-" * 4 + ".png"
TAGS = ("cat, window, warm", "hills, morning, calm", "sea, evening, waves", "cup, coffee, table")
TEXT = b"def purr(times):\n    return '<b>' + 'rr' * times  # & so on\n" * 12


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Who is there, and the items that tests look at."""

    alice: Person
    bob: Person
    nobody: Person
    admin: Person
    image: int
    video: int
    audio: int
    text: int
    other: int
    nsfw: int
    waiting: int
    rejected: int
    expired: int
    unlisted: str


def make(site: Site, *, pictures: int = 24, waiting: int = 6) -> World:
    """Fill a site that has manual_approval on."""
    admin = site.person("miriam", admin=True)
    alice, bob, nobody = (site.person(name) for name in ("alice", "bob", "newcomer"))
    listed = []

    def publish(person: Person, content: bytes, name: str, **fields: str) -> int:
        item = site.list_item(person, content, name, **fields)
        site.server.ask(f"/api/v2/queue/{item}/approve", admin.by_admin_token)
        listed.append(item)
        return item

    for number in range(pictures):
        owner = alice if number % 3 else bob
        publish(owner, picture(number), f"view-{number}.jpg", tags=_tags(number))
    nsfw = publish(bob, picture(2), "hidden.jpg", rating="nsfw", tags="sea, evening, secret")
    for number in (5, 9):
        publish(bob, picture(number), "hidden.jpg", rating="nsfw", tags="sea, evening, secret")
    found = {
        "other": publish(alice, b"%PDF-1.4\n", "minutes.pdf", tags="paper, minutes, june"),
        "text": publish(bob, TEXT, "purr.py", tags="python, cat, sound"),
        "audio": publish(alice, silence(), "purr.wav", tags="sound, cat, calm"),
        "video": publish(alice, video(), "sea.mp4", tags="sea, waves, calm"),
    }
    publish(alice, picture(7), LONG, tags=", ".join(["a tag of some length", "l" * 64, "cat"]))
    image = publish(
        alice, picture(3, (1600, 1200)), "cat at the window.jpg", comment="She sits there all day."
    )
    rejected = site.list_item(alice, picture(4), "blurred.jpg")
    site.server.ask(
        f"/api/v2/queue/{rejected}/reject",
        admin.by_admin_token | {"reason": "Much too blurred to see the hills; send a sharper one."},
    )
    ids = [
        site.list_item(
            alice if number % 2 else bob,
            picture(number + 40),
            LONG if number == 1 else f"new-{number}.jpg",
            tags=_tags(number),
            comment="Taken this morning.",
        )
        for number in range(waiting)
    ]
    unlisted = site.server.upload(alice, picture(11), "screenshot 2026-11-21.png")
    moment = datetime.now(UTC) + timedelta(seconds=2)
    soon = publish(bob, picture(12), "soon.jpg", expires=moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
    publish(alice, picture(13), "view of a week.jpg", expires="7d")
    for reason in ("Somebody else has made this picture, and asks for it to go.", ""):
        name = site.server.upload(alice, picture(14, (640, 480 + len(reason))), "borrowed.png")
        takedown = {"file": name, "reason": reason, "refuse": "1" if reason else "0"}
        site.server.ask("/api/admin/delete/file", admin.by_admin_token | takedown)
    site.server.upload(alice, TEXT, "notes.txt")
    return World(
        alice=alice,
        bob=bob,
        nobody=nobody,
        admin=admin,
        image=image,
        nsfw=nsfw,
        waiting=next((one for place, one in enumerate(ids) if place % 2), ids[0]),
        rejected=rejected,
        expired=soon,
        unlisted=unlisted,
        **found,
    )


def _tags(number: int) -> str:
    return TAGS[(number + 1) % 4]


def silence(seconds: float = 1) -> bytes:
    """A sound file."""
    data = b"\x80" * int(8000 * seconds)
    head = (
        b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    )
    head += b"\x01\0\x01\0" + (8000).to_bytes(4, "little") * 2 + b"\x01\0\x08\0"
    return head + b"data" + len(data).to_bytes(4, "little") + data


def video() -> bytes:
    """A film of one second, by ffmpeg; without it, bytes that no player takes."""
    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        return b"\0\0\0\x18ftypmp42"
    command = [ffmpeg, "-loglevel", "error", "-loop", "1", "-i", "-", "-t", "1", "-r", "5"]
    command += ["-vf", "scale=640:480", "-pix_fmt", "yuv420p", "-movflags", "frag_keyframe"]
    made = subprocess.run(
        [*command, "-f", "mp4", "-"], input=picture(6), capture_output=True, check=True
    )
    return made.stdout
