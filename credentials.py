"""Passwords, tokens and keys: shaped, derived, hashed, verified. Knows no table and no request."""

import base64
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
import unicodedata
import uuid
from contextlib import suppress
from pathlib import Path

import bcrypt

from errors import Invalid

TOKEN_PATTERN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
API_KEY_PATTERN = re.compile(r"[0-9a-f]{64}", re.ASCII)
DELETION_PATTERN = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)
USERNAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,31}", re.ASCII)

UPLOAD = b"kissa upload token v1"
ADMIN = b"kissa admin token v1"
DELETION = b"kissa deletion link v1"
_PEPPER = b"kissa password v1"  # public: it only keeps these hashes from fitting another site's


class SecretError(Exception):
    """The server secret cannot be used; the message says why in one line."""


def secret_path(database: Path) -> Path:
    """Where the server's secret lies: beside the database."""
    return database.with_suffix(".secret")


def load_secret(path: Path) -> bytes:
    """The server's secret, 32 bytes, made at the first call.

    Raises:
        SecretError: others can read the file, or it is not ours.
    """
    try:
        if not path.exists():
            _make_secret(path)
    except OSError as error:
        raise SecretError(f"{path}: the server secret cannot be made: {error.strerror}") from error
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(33)
    except OSError as error:
        raise SecretError(f"{path}: the server secret cannot be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretError(f"{path}: others can read the server secret; run: chmod 600 {path}")
    if len(secret) != 32:
        raise SecretError(f"{path}: the server secret is damaged; restore it from a backup")
    return secret


def keep_secret(path: Path, secret: bytes) -> None:
    """Put a secret of another place at `path`, where none is yet; whole or not at all.

    Raises:
        OSError: the disk refused.
    """
    _make_secret(path, secret)


def _make_secret(path: Path, secret: bytes = b"") -> None:
    """Make a secret, whole or not at all: cut short, the next call makes it anew. Of several
    processes that want to, one does."""
    ready = path.with_name(f"{path.name}.new")
    fd = os.open(ready, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        with suppress(OSError):  # no file locks here
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():  # then this may even be that file, renamed by who held the lock
            ready.unlink(missing_ok=True)
            return
        file.truncate()
        file.write(secret or secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())
        os.rename(ready, path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def valid_username(username: str) -> str:
    """`username` as it may be signed up.

    Raises:
        Invalid: it does not have the shape of one.
    """
    if not USERNAME_PATTERN.fullmatch(username):
        raise Invalid(
            "A username is 2 to 32 letters, digits, dots, underscores or hyphens, "
            "and begins with a letter or digit."
        )
    return username


def valid_password(password: str, what: str = "password") -> str:
    """`password` in NFC, as it may be chosen. A header could carry no blanks at its ends.

    Raises:
        Invalid: it is too short, too long, or holds what a header cannot carry.
    """
    password = unicodedata.normalize("NFC", password)
    if not 6 <= len(password) <= 256:
        raise Invalid(f"The {what} must have 6 to 256 characters.")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in password):
        raise Invalid(f"The {what} must not hold control characters.")
    if password != password.strip():
        raise Invalid(f"The {what} must not begin or end with a blank.")
    return password


def hash_password(password: str, cost: int) -> str:
    """The bcrypt hash of `password` at `cost` (4 to 16, the logarithm of its rounds)."""
    return bcrypt.hashpw(_prehash(password), bcrypt.gensalt(cost)).decode()


def verify_password(password: str, password_hash: str | None, cost: int) -> bool:
    """Whether `password` has this hash. Without a hash it takes as long and is False.

    A broken hash is False too.
    """
    # OWASP Authentication Cheat Sheet: an unknown user costs the same time. Any salt and digest
    # of the right shape make bcrypt work; this one is the hash of nothing.
    dummy = f"$2b${cost:02d}${'.' * 22}{'.' * 31}"
    try:
        matches = bcrypt.checkpw(_prehash(password), (password_hash or dummy).encode())
    except ValueError:
        return False
    return matches and password_hash is not None


def cost_of(password_hash: str) -> int:
    """The bcrypt cost inside a hash that `verify_password` accepted."""
    return int(password_hash.split("$")[2])


def _prehash(password: str) -> bytes:
    # bcrypt raises above 72 bytes and stops at NUL: 64 characters of base64 are neither.
    text = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.digest(_PEPPER, text, "sha384"))


def new_nonce() -> bytes:
    """16 random bytes from which, with the server's secret, a token follows."""
    return secrets.token_bytes(16)


def derive_token(secret: bytes, purpose: bytes, nonce: bytes) -> str:
    """The token (a version-4 UUID) that `nonce` stands for, under UPLOAD or ADMIN.

    Derived so that it can be shown again, while a stolen database holds no usable token.
    """
    digest = hmac.digest(secret, purpose + nonce, "sha256")
    return str(uuid.UUID(bytes=digest[:16], version=4))


def hash_key(key: str) -> bytes:
    """What the database keeps of a token or key. They are random: no salt, no stretching."""
    return hashlib.sha256(key.encode("ascii")).digest()


def new_api_key() -> str:
    """A key for the f0ckm API: 64 lower-case hex characters."""
    return secrets.token_hex(32)


def new_registration_key() -> str:
    """A key for one signup: a UUID."""
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


def new_deletion_secret() -> str:
    """The secret part of one file's deletion link: 128 bits as 22 characters."""
    return secrets.token_urlsafe(16)


def derive_deletion_secret(secret: bytes, name: str) -> str:
    """The same for an upload that came in pieces under `name`: derived, so that a client that
    missed the answer can be told it again."""
    digest = hmac.digest(secret, DELETION + name.encode(), "sha256")
    return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")
