"""Browser sessions as rows: a cookie is worth what its row says, so ending one ends it at once.

A signed cookie could be replayed after signing out; here the cookie is a random secret, and the
database keeps its hash (OWASP Session Management Cheat Sheet).
"""

import re
import secrets
from contextlib import suppress
from datetime import timedelta
from typing import Any

import credentials
import models
from errors import Moving, NotFound
from models import Session, User

IDLE = timedelta(days=14)
ABSOLUTE = timedelta(days=90)
SEEN_GRAIN = timedelta(hours=1)  # the last use is written at most this often
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def begin(user: User, device: str) -> str:
    """Sign `user` in on a browser.

    Args:
        device: what the browser says of itself, for the list of sessions.

    Returns:
        the secret for the cookie: 256 random bits as text.
    """
    secret = secrets.token_urlsafe(32)
    moment = models.now()
    kept = "".join(char for char in device if char.isprintable())[:200]

    def work() -> None:
        _expired(user.id).execute()
        Session.insert(
            user=user.id,
            secret_hash=credentials.hash_key(secret),
            device=kept,
            created=moment,
            last_seen=moment,
        ).execute()

    models.write(work)
    return secret


def find(secret: str) -> tuple[Session, User] | None:
    """The session of this cookie and its active user, or None."""
    if not _SECRET.fullmatch(secret):
        return None
    session = (
        Session.select(Session, User)
        .join(User)
        .where(Session.secret_hash == credentials.hash_key(secret))
        .first()
    )
    moment = models.now()
    if (
        session is None
        or session.user.is_banned
        or session.user.is_deleting
        or moment - session.last_seen > IDLE
        or moment - session.created > ABSOLUTE
    ):
        return None
    if moment - session.last_seen > SEEN_GRAIN:
        this = Session.id == session.id
        touch = Session.update(last_seen=moment).where(this)
        with suppress(Moving):  # it can be read meanwhile
            models.write(touch.execute, of_user=session.user_id)
    return session, session.user


def list_sessions(user: User) -> list[Session]:
    """The live sessions of `user`, the one used last first."""
    oldest = models.now() - IDLE
    query = Session.select().where(Session.user == user.id, Session.last_seen > oldest)
    return list(query.order_by(Session.last_seen.desc(), Session.id.desc()))


def end(user: User, session_id: int) -> None:
    """End one session of `user`.

    Raises:
        NotFound: the user has no such session.
    """
    this = (Session.id == session_id) & (Session.user == user.id)
    if not models.write(lambda: Session.delete().where(this).execute()):
        raise NotFound("You have no session of this id.")


def end_others(user: User, session: Session) -> None:
    """End all sessions of `user` but this one."""
    others = (Session.user == user.id) & (Session.id != session.id)
    models.write(lambda: Session.delete().where(others).execute())


def end_all(user_id: int) -> None:
    """End all sessions of a user; call it inside `models.write`."""
    Session.delete().where(Session.user == user_id).execute()


def _expired(user_id: int) -> Any:
    moment = models.now()
    is_over = (Session.last_seen < moment - IDLE) | (Session.created < moment - ABSOLUTE)
    return Session.delete().where(Session.user == user_id, is_over)


# What a User-Agent gives away, the telling words first: most claim to be several browsers at once.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "a Mac"),
    ("Linux", "Linux"),
)


def describe(device: str) -> str:
    """A browser in words, such as `Firefox on Windows`, from what it says of itself."""
    browser = next((name for sign, name in _BROWSERS if sign in device), "A browser")
    system = next((name for sign, name in _SYSTEMS if sign in device), None)
    return f"{browser} on {system}" if system else browser
