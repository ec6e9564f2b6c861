"""The files in static/: read once, compressed once, under an address that changes with them."""

import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from blueprints import compression

FOLDER = Path(__file__).parents[2] / "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """A file of ours.

    Args:
        packed: the same bytes with gzip; None where that saves nothing.
        version: a hash of the bytes, which its address carries.
    """

    body: bytes
    packed: bytes | None
    media_type: str
    version: str


@cache
def all_files() -> dict[str, StaticFile]:
    """Every file in static/ by its path there: some 50 KB, read at the first use."""
    paths = (path for path in FOLDER.rglob("*") if path.is_file())
    return {path.relative_to(FOLDER).as_posix(): _read(path) for path in paths}


def _read(path: Path) -> StaticFile:
    body = path.read_bytes()
    packed = compression.pack(body)
    return StaticFile(
        body=body,
        packed=packed if len(packed) < len(body) else None,
        media_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        version=hashlib.sha256(body).hexdigest()[:12],
    )
