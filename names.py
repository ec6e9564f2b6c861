"""Names: what stored files are called, and what is kept of their senders' names."""

import re
import secrets
import string
import unicodedata

NAME_PATTERN = re.compile(r"[A-Za-z0-9]{5,32}(?:\.[a-z0-9]{1,10}){0,2}", re.ASCII)
TEMPORARY_PATTERN = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)
THUMBNAIL, NO_THUMBNAIL = ".webp", ".none"  # what is appended to the name of the file
THUMBNAIL_PATTERN = re.compile(
    rf"(?:{NAME_PATTERN.pattern}|_[A-Za-z0-9]{{32}})\.(?:webp|none)|[A-Za-z0-9]{{32}}", re.ASCII
)
# What a random byte becomes in a name. 248 is 4 x 62: the rest of a byte's values would make
# eight letters likelier than the others, so those bytes are dropped.
_LETTERS = (string.ascii_letters + string.digits).encode() * 4 + bytes(8)
_SURPLUS = bytes(range(248, 256))
_SUFFIX = re.compile(r"[A-Za-z0-9]{1,10}", re.ASCII)
BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def extension_of(client_name: str) -> str:
    """The extension, with its dot or dots, that a stored name takes over from the client's name.

    The last suffix of the last path component, or the last two when the first of them is `tar`,
    lower-cased; empty when a suffix is not 1 to 10 ASCII letters or digits, or nothing stands
    before it (`.bashrc`).
    """
    stem, dot, suffix = _last_component(client_name).rpartition(".")
    if not dot or not stem.strip(".") or not _SUFFIX.fullmatch(suffix):
        return ""
    before, _, inner = stem.rpartition(".")
    if inner.lower() == "tar" and before.strip("."):
        return f".tar.{suffix.lower()}"
    return f".{suffix.lower()}"


def display_name(client_name: str) -> str:
    """The client's name as it may be shown and offered for download: at most 255 characters.

    Without path, control characters, surrogates, line separators and the bidi controls that make
    `exe.png` of `gnp.exe` (Unicode TR 36).
    """
    kept = "".join(
        char
        for char in _last_component(client_name)
        if char not in BIDI and unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
    ).strip()
    if len(kept) <= 255:
        return kept
    suffix = extension_of(kept)
    return kept[: 255 - len(suffix)] + suffix


def random_name(length: int, extension: str = "") -> str:
    """A name of `length` random letters and digits, then `extension` (with its dot, or empty)."""
    name = ""
    while len(name) < length:
        name += secrets.token_bytes(2 * length).translate(_LETTERS, _SURPLUS).decode()
    return name[:length] + extension


def _last_component(client_name: str) -> str:
    return re.split(r"[/\\]", client_name)[-1]
