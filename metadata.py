"""Pictures without what they tell of their makers: place, time, camera, names, remarks.

The bytes of the picture itself are copied as they are: not a pixel changes, and the orientation
stays. What is kept and what goes is decided in segments.py.
"""

import struct
from dataclasses import dataclass
from typing import Literal

import segments
from config import Config
from errors import Invalid
from segments import Broken, Plan, Source
from storage import Incoming, Storage

Outcome = Literal["removed", "clean", "unparsed", "untouched"]
HEADER = "X-Metadata"  # of the answer to an upload
KEPT = ("unparsed", "untouched")  # outcomes that leave a file as it is, whatever is in it
_WISHES = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripped:
    """The file to keep, and what became of it.

    `outcome`: `removed`, `clean` (there was nothing to remove), `unparsed` (a picture that cannot
    be read, kept as it is), `untouched` (of a kind that is not looked into); None when nobody
    asked for it.
    """

    file: Incoming
    outcome: Outcome | None


def apply(
    config: Config, store: Storage, file: Incoming, *, is_listed: bool, wish: str
) -> Stripped:
    """Strip a received file if the sender wishes it or, without a wish, the configuration says so.

    Args:
        file: what was received, not yet sealed; the caller closes it, and the one in the answer.
        is_listed: whether it goes to the gallery.
        wish: what the sender said about it, empty for nothing.

    Raises:
        Invalid: the wish is neither yes nor no.
        NoSpace: there is no room for the stripped file.
    """
    if wants(config, is_listed=is_listed, wish=wish):
        return strip(store, file)
    return Stripped(file=file, outcome=None)


def wants(config: Config, *, is_listed: bool, wish: str) -> bool:
    """Whether a file is to be stripped, by the sender's wish, else by the configuration.

    Raises:
        Invalid: the wish is neither yes nor no.
    """
    asked = _read_wish(wish)
    mode = config.uploads.strip_metadata
    return asked if asked is not None else mode == "all" or (mode == "listed" and is_listed)


def strip(store: Storage, file: Incoming) -> Stripped:
    """Copy a picture without its metadata into a file of its own, hashed on the way.

    Args:
        file: a received file, not yet sealed; the caller closes it.

    Raises:
        NoSpace: there is no room for the stripped file.
        OSError, Unavailable: the store failed.
    """
    source = Source(file.read_at, file.size)
    try:
        plan = segments.plan(source)
    except (Broken, struct.error, LookupError, ValueError):
        return Stripped(file=file, outcome="unparsed")
    if plan is None:
        return Stripped(file=file, outcome="untouched")
    if not plan.changes():
        return Stripped(file=file, outcome="clean")
    copied = store.open(file.likely_name)
    try:
        _copy(source, plan, copied)
    except BaseException:
        copied.close()
        raise
    return Stripped(file=copied, outcome="removed")


def _copy(source: Source, plan: Plan, target: Incoming) -> None:
    for piece in plan.pieces:
        if isinstance(piece, bytes):
            target.write(piece)
            continue
        offset, end = piece
        while offset < end:
            block = source.read(offset, min(segments.BLOCK, end - offset))
            if not block:
                raise OSError("a received file became shorter")
            target.write(block)
            offset += len(block)


def _read_wish(text: str) -> bool | None:
    text = text.strip().lower()
    if text and text not in _WISHES:
        raise Invalid("strip-metadata must be yes or no.")
    return _WISHES.get(text)
