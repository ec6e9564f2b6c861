"""What a client says of an upload in pieces: its description, and the checksum of a piece."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

import intake
from errors import Invalid

ALGORITHMS = ("sha256", "sha1")  # of checksums; the protocol asks for sha1
_KEY = re.compile(r"[!-+\--~]+", re.ASCII)  # neither blank nor comma


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """What the client says that a piece hashes to, by one of ALGORITHMS."""

    algorithm: str
    digest: bytes


def parse_metadata(text: str) -> dict[str, str]:
    """What Upload-Metadata says: pairs of a key and base64, separated by commas.

    Raises:
        Invalid: it says it in another form, or one thing twice.
    """
    found: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else []:
        key, _, value = pair.strip().partition(" ")
        try:
            decoded = intake.decode(base64.b64decode(value.strip(), validate=True))
        except (binascii.Error, ValueError):
            raise Invalid("A value in Upload-Metadata is no base64.") from None
        if not _KEY.fullmatch(key) or key in found:
            raise Invalid("Upload-Metadata must hold different keys, each with a value in base64.")
        found[key] = decoded
    return found


def parse_checksum(text: str) -> Checksum | None:
    """What Upload-Checksum says, None for nothing.

    Raises:
        Invalid: it is malformed, or of an unknown algorithm.
    """
    if not text:
        return None
    algorithm, _, value = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Invalid(f"Upload-Checksum must be one of {', '.join(ALGORITHMS)}.")
    try:
        digest = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != hashlib.new(algorithm).digest_size:
        raise Invalid("Upload-Checksum must be an algorithm, a blank, and base64.")
    return Checksum(algorithm=algorithm, digest=digest)
