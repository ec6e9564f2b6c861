"""From a request's headers to its inputs, its client's address and its User."""

from functools import cache
from typing import Any
from urllib.parse import urlsplit

from flask import Request, g, request

import accounts
import intake
import keys
import sessions
from context import get_config, get_services
from errors import Forbidden, Invalid, Unauthorized
from models import Session, User

Environ = dict[str, Any]  # a request as WSGI hands it over (PEP 3333)
INVALID_TOKEN = "The token is missing or not valid."


def header(name: str) -> str:
    """The request header `name` without outer blanks; empty when absent.

    Header bytes are UTF-8 where they decode strictly as that, else latin-1; WSGI (PEP 3333) hands
    them over as latin-1.
    """
    return header_of(request.environ, name)


def header_of(environ: Environ, name: str) -> str:
    """As `header`, of a request that Flask has not seen: its WSGI environ."""
    value: str = environ.get(_key(name), "")
    return intake.decode(value.encode("latin-1", "replace")).strip() if value else ""


@cache
def _key(name: str) -> str:
    return f"HTTP_{name.upper().replace('-', '_')}"


def read_input(name: str) -> str:
    """The documented input `name`: from the headers, else from a JSON body, else from the form.

    Never from the URL, which ends up in logs. Empty when it is nowhere.

    Raises:
        Invalid: it is text that no header could carry either.
    """
    value = header(name) or _json_input(request, name) or request.form.get(name, "")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Invalid(f"The {name} is not valid text.") from None
    return value


def require_input(name: str) -> str:
    """As `read_input`, but it must be there.

    Raises:
        Invalid: it is missing, or no valid text.
    """
    value = read_input(name)
    if not value:
        raise Invalid(f"Missing {name}.")
    return value


def _json_input(request: Request, name: str) -> str:
    try:
        body = request.get_json(silent=True) if request.is_json else None
    except RecursionError:  # thousands of nested brackets; `silent` does not cover them
        body = None
    value = body.get(name) if isinstance(body, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # ids and limits are numbers in JSON
    return value if isinstance(value, str) else ""


def client_address() -> str:
    """The client's address as text: as the outermost trusted proxy saw it, else the peer's."""
    hops = get_config().server.proxy_hops
    seen = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
    if hops and len(seen) >= hops and seen[-hops]:
        return seen[-hops]
    return request.remote_addr or "unknown"


def password_door() -> accounts.Door:
    """What acts with a password need to know of this request."""
    services = get_services()
    return accounts.Door(
        rules=services.config.accounts,
        secret=services.secret,
        places=services.places,
        address=client_address(),
    )


def require_token() -> User:
    """The user of the upload token among the inputs.

    Raises:
        Unauthorized: there is none.
    """
    return _known(accounts.find_by_token(_token()))


def sender_by_token(environ: Environ) -> int:
    """The id of the user of the upload token in the header alone: the body is still unread.

    Raises:
        Unauthorized: there is none.
    """
    return _known_sender(environ, accounts.find_sender(header_of(environ, "token")))


def sender_by_api_key(environ: Environ) -> int:
    """The id of the user of the header X-Api-Key.

    Raises:
        Unauthorized: there is none.
    """
    return _known_sender(environ, keys.find_sender(header_of(environ, "X-Api-Key")))


def require_admin() -> User:
    """The admin of the admin token among the inputs.

    Raises:
        Forbidden: it is a live upload token.
        Unauthorized: it is nothing we know.
    """
    return _admin(_token())


def require_admin_by_header() -> User:
    """As `require_admin`, by the header alone.

    Raises:
        Forbidden, Unauthorized: as there.
    """
    return _admin(header("token"))


def _admin(token: str) -> User:
    admin = accounts.find_by_admin_token(token)
    if admin is None and accounts.find_by_token(token) is not None:
        raise Forbidden("An admin token is needed here; this is an upload token.")
    return _known(admin)


def require_admin_token() -> User:
    """As `require_admin`, where nothing but 401 is told.

    Raises:
        Unauthorized: it is no live admin token.
    """
    return _known(accounts.find_by_admin_token(_token()))


def find_admin() -> User | None:
    """The admin of the admin token in the header, if any."""
    admin = accounts.find_by_admin_token(header("token"))
    return _known(admin) if admin else None


def find_api_key_user() -> User | None:
    """The user of the header X-Api-Key, if any."""
    user = keys.find_user_by_api_key(header("X-Api-Key"))
    return _known(user) if user else None


def _token() -> str:
    try:
        return read_input("token")
    except Invalid:
        return ""  # malformed is 401, as any token that is not one


def _known(user: User | None) -> User:
    if user is None:
        raise Unauthorized
    _known_sender(request.environ, user.id)
    return user


def _known_sender(environ: Environ, user_id: int | None) -> int:
    if user_id is None:
        raise Unauthorized
    environ["kissa.user_id"] = user_id  # for the log line
    return user_id


# Browser sessions


def cookie_name() -> str:
    """The session cookie's name; over https the prefix that pins it to this very host."""
    return "__Host-kissa" if is_https() else "kissa"


def is_https() -> bool:
    """Whether people reach this host over https."""
    return get_config().site.url.startswith("https:")


def find_session() -> tuple[Session, User] | None:
    """The request's browser session and its user, looked up once a request; None without one."""
    if "session" not in g:
        secret = request.cookies.get(cookie_name(), "")
        g.session = sessions.find(secret) if secret else None
        if g.session is not None:
            _known(g.session[1])
    found: tuple[Session, User] | None = g.session
    return found


def forget_unknown_session() -> None:
    """Do not look for a session any more: what failed may be the database, and the page that says
    so must not need it."""
    g.setdefault("session", None)


def find_viewer() -> User | None:
    """Who looks at a page: the signed-in user, or None for a visitor."""
    found = find_session()
    return found[1] if found else None


def require_viewer() -> User:
    """The signed-in user.

    Raises:
        Unauthorized: nobody is signed in.
    """
    viewer = find_viewer()
    if viewer is None:
        raise Unauthorized
    return viewer


def require_admin_viewer() -> User:
    """The signed-in admin.

    Raises:
        Unauthorized: nobody is signed in.
        Forbidden: the signed-in user is no admin.
    """
    viewer = require_viewer()
    if viewer.role != "admin":
        raise Forbidden("This page is for admins.")
    return viewer


def require_same_origin() -> None:
    """See that the request comes from a page of ours and not from another site's.

    By Sec-Fetch-Site where the browser sends it, else by Origin (OWASP Cross-Site Request Forgery
    Prevention Cheat Sheet); a request with neither is no browser's of today.

    Raises:
        Forbidden: it does not.
    """
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin", "")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = bool(origin) and urlsplit(origin).netloc == request.host
    if not is_ours:
        raise Forbidden("This was not sent from a page of this host.")
