"""People: signing up and in, their tokens, roles and bans, and how an account ends."""

import hmac
from dataclasses import dataclass

from peewee import IntegrityError

import audit
import credentials
import items
import keys
import models
import resumable
import sessions
import statements
from config import Accounts
from errors import Conflict, Forbidden, NameTaken, NotFound, Unauthorized
from models import Item, User
from storage import Storage
from throttle import Guess, Places

WRONG_LOGIN = "The username or the password is wrong."
_LAST_ADMIN = "This is the last admin; make another one first."
_PURGE_BATCH = 1000  # rows deleted in one write while an account ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What every act with a password needs to know.

    Args:
        rules: the section [accounts] of the configuration.
        secret: the server's secret.
        places: where bcrypt may run.
        address: the client's address as text.
    """

    rules: Accounts
    secret: bytes
    places: Places
    address: str


def sign_up(door: Door, username: str, password: str, registration_key: str = "") -> User:
    """Make an account.

    Raises:
        Forbidden: registration is off, or invite-only and the key is not good.
        Invalid: username or password do not have the shape of one.
        NameTaken: somebody has the name; a registration key is not used up by that.
        TooMany, Busy: too many guesses, or no place to hash a password.
    """
    if not door.rules.registration:
        raise Forbidden("Registration is closed on this host.")
    credentials.valid_username(username)
    password = credentials.valid_password(password)
    key = ""
    if door.rules.invite_only:
        key = registration_key
        guess = Guess(door.rules.failures, door.address)
        guess.require_allowed()
        if not keys.is_open_registration_key(key):
            if key:
                guess.begin()
            raise Forbidden("A valid registration key is needed to sign up here.")
    return _add(door, username, password, "user", key)


def sign_up_admin(door: Door, username: str, password: str, admin_key: str) -> User:
    """Make an admin's account with the host's admin key.

    Raises:
        Forbidden: that is off, or the key is wrong.
        Invalid, NameTaken, TooMany, Busy: as for `sign_up`.
    """
    if not door.rules.admin_registration:
        raise Forbidden("Admins cannot register on this host.")
    credentials.valid_username(username)
    password = credentials.valid_password(password)
    guess = Guess(door.rules.failures, door.address)
    guess.require_allowed()
    expected = door.rules.admin_key.encode()
    if not hmac.compare_digest(admin_key.encode("utf-8", "surrogatepass"), expected):
        guess.begin()
        raise Forbidden("The admin key is wrong.")
    return _add(door, username, password, "admin", "")


def create_admin(secret: bytes, cost: int, username: str, password: str, *, act: str = "") -> User:
    """Make an admin's account, as the operator.

    Args:
        act: under which the audit knows it; empty for none.

    Raises:
        Invalid, NameTaken: as for `sign_up`.
    """
    credentials.valid_username(username)
    password_hash = credentials.hash_password(credentials.valid_password(password), cost)
    return _insert(secret, username, password_hash, "admin", "", act)


def _add(door: Door, username: str, password: str, role: str, key: str) -> User:
    if User.get_or_none(User.username_key == username.lower()):
        raise NameTaken("This username is taken.")
    with door.places.take(door.address):
        password_hash = credentials.hash_password(password, door.rules.bcrypt_cost)
    return _insert(door.secret, username, password_hash, role, key)


def _insert(
    secret: bytes, username: str, password_hash: str, role: str, key: str, act: str = ""
) -> User:
    nonce = credentials.new_nonce()
    token = credentials.derive_token(secret, credentials.UPLOAD, nonce)

    def work() -> User:
        if key and not keys.consume_registration_key(key):
            raise Forbidden("A valid registration key is needed to sign up here.")
        user = User.create(
            username=username,
            username_key=username.lower(),
            password_hash=password_hash,
            token_nonce=nonce,
            token_hash=credentials.hash_key(token),
        )
        if role == "admin":
            give_admin_token(secret, user.id)
        if act:
            audit.record(None, act, f"#{user.id}")
        return User.get_by_id(user.id)

    try:
        return models.write(work)
    except IntegrityError as error:
        raise NameTaken("This username is taken.") from error


def log_in(door: Door, username: str, password: str) -> User:
    """The active user of this name and password.

    Raises:
        Unauthorized: there is none; unknown, banned and wrong look and take the same.
        TooMany, Busy: too many guesses, or no place to hash a password.
    """
    guess = Guess(door.rules.failures, door.address, username)
    guess.require_allowed()
    cost = door.rules.bcrypt_cost
    with door.places.take(door.address):
        guess.begin()
        user = _find(username)
        known = user.password_hash if user else None
        if not credentials.verify_password(password, known, cost) or user is None:
            raise Unauthorized(WRONG_LOGIN)
        if credentials.cost_of(user.password_hash) != cost:
            _renew_hash(user, credentials.hash_password(password, cost))
        if user.is_banned:
            raise Unauthorized(WRONG_LOGIN)
    guess.succeed()
    return user


def _renew_hash(user: User, password_hash: str) -> None:
    same = (User.id == user.id) & (User.password_hash == user.password_hash)
    models.write(lambda: User.update(password_hash=password_hash).where(same).execute())
    user.password_hash = password_hash


def reset_password(door: Door, username: str, password: str, new_password: str) -> None:
    """Change the password of who knows the old one. The token stays, all browser sessions end.

    Raises:
        Invalid: the new password does not have the shape of one.
        Unauthorized, TooMany, Busy: as for `log_in`.
    """
    new_password = credentials.valid_password(new_password, "new password")
    user = log_in(door, username, password)
    with door.places.take(door.address):
        password_hash = credentials.hash_password(new_password, door.rules.bcrypt_cost)
    same = (User.id == user.id) & (User.password_hash == user.password_hash)

    def work() -> None:
        if not User.update(password_hash=password_hash).where(same).execute():
            raise Unauthorized(WRONG_LOGIN)  # somebody else changed it meanwhile
        sessions.end_all(user.id)

    models.write(work)


# Tokens


def upload_token(secret: bytes, user: User) -> str:
    """The upload token of `user`, derived anew."""
    return credentials.derive_token(secret, credentials.UPLOAD, user.token_nonce)


def admin_token(secret: bytes, user: User) -> str:
    """The admin token of `user`.

    Raises:
        Unauthorized: the user is no admin.
    """
    if user.role != "admin" or user.admin_nonce is None:
        raise Unauthorized(WRONG_LOGIN)
    return credentials.derive_token(secret, credentials.ADMIN, user.admin_nonce)


def renew_upload_token(secret: bytes, user: User) -> None:
    """Give `user` another upload token; the old one is refused from the next request on.

    Raises:
        Unauthorized: somebody renewed it at the same moment.
    """
    nonce = credentials.new_nonce()
    token = credentials.derive_token(secret, credentials.UPLOAD, nonce)
    fresh = {"token_nonce": nonce, "token_hash": credentials.hash_key(token)}
    same = (User.id == user.id) & (User.token_hash == user.token_hash)
    if not models.write(lambda: User.update(**fresh).where(same).execute()):
        raise Unauthorized


def renew_admin_token(secret: bytes, user: User) -> None:
    """Give the admin `user` another admin token; the old one dies with the next request.

    Raises:
        Unauthorized: the user is no admin any more.
    """

    def work() -> None:
        if not User.select().where(User.id == user.id, User.role == "admin").exists():
            raise Unauthorized
        give_admin_token(secret, user.id)
        audit.record(user.id, "renew admin token", f"#{user.id}")

    models.write(work)


def give_admin_token(secret: bytes, user_id: int) -> None:
    """Make a user an admin with a new admin token, inside a write."""
    nonce = credentials.new_nonce()
    token = credentials.derive_token(secret, credentials.ADMIN, nonce)
    User.update(
        role="admin", admin_nonce=nonce, admin_token_hash=credentials.hash_key(token)
    ).where(User.id == user_id).execute()


def find_by_token(token: str) -> User | None:
    """The active user with this upload token, or None."""
    return _find_by_hash("token_hash", token)


def find_sender(token: str) -> int | None:
    """The id alone of that user: an upload needs no more."""
    if not credentials.TOKEN_PATTERN.fullmatch(token):
        return None
    return statements.find_sender(credentials.hash_key(token))


def find_by_admin_token(token: str) -> User | None:
    """The active admin with this admin token, or None."""
    user = _find_by_hash("admin_token_hash", token)
    return user if user is not None and user.role == "admin" else None


def _find_by_hash(column: str, token: str) -> User | None:
    if not credentials.TOKEN_PATTERN.fullmatch(token):
        return None
    user = statements.find_user(column, credentials.hash_key(token))
    return None if user is None or user.is_banned or user.is_deleting else user


def secret_fits(secret: bytes) -> bool:
    """Whether the tokens in the database came from this secret; True for an empty database."""
    user = User.select().order_by(User.id.desc()).first()
    return user is None or user.token_hash == credentials.hash_key(upload_token(secret, user))


def has_admin() -> bool:
    """Whether any admin can sign in."""
    return User.select().where(*_ACTIVE_ADMIN).exists()


# Bans and ends

_ACTIVE_ADMIN = (
    User.admin_token_hash > b"",  # every admin has one, and it has an index
    User.role == "admin",
    ~User.is_banned,
    ~User.is_deleting,
)


def get_user(username: str) -> User:
    """The user of this name, in any case.

    Raises:
        NotFound: there is none.
    """
    user = _find(username)
    if user is None:
        raise NotFound("There is no user of this name.")
    return user


def ban(admin: User | None, username: str) -> None:
    """Shut a user out; the files stay. `admin` is None for the operator.

    Raises:
        NotFound: there is no such user.
        Conflict: it is the last admin.
    """
    _set_banned(admin, username, True)


def unban(admin: User | None, username: str) -> None:
    """Let a banned user in again, with the token and keys of before.

    Raises:
        NotFound: there is no such user.
    """
    _set_banned(admin, username, False)


def _set_banned(admin: User | None, username: str, is_banned: bool) -> None:
    def work() -> None:
        user = get_user(username)
        if is_banned:
            require_other_admin(user)
        User.update(is_banned=is_banned).where(User.id == user.id).execute()
        if is_banned:
            sessions.end_all(user.id)
        audit.record(admin.id if admin else None, "ban" if is_banned else "unban", f"#{user.id}")

    models.write(work)


def delete(store: Storage, user: User, *, admin: User | None = None) -> None:
    """End an account: all its files, items, comments, keys and the row itself.

    Args:
        admin: who does it, when it is not the user.

    Raises:
        NotFound, or Unauthorized without an admin: it is gone already.
        Conflict: it is the last admin.
    """

    def work() -> None:
        fresh = User.get_or_none(User.id == user.id)
        if fresh is None or fresh.is_deleting:
            raise NotFound("There is no user of this name.") if admin else Unauthorized(WRONG_LOGIN)
        require_other_admin(fresh)
        User.update(is_deleting=True).where(User.id == user.id).execute()
        sessions.end_all(user.id)
        if admin is not None:
            audit.record(admin.id, "delete user", f"#{user.id}")

    models.write(work)
    _purge(store, user.id)


def finish_deletions(store: Storage) -> int:
    """End the accounts whose deletion was cut short. Returns how many."""
    ids = [row[0] for row in models.rows(User.select(User.id).where(User.is_deleting))]
    for user_id in ids:
        _purge(store, user_id)
    return len(ids)


def _purge(store: Storage, user_id: int) -> None:
    """Unlink everything, then delete the rows; the first of those writes syncs the folders. No
    upload comes in between: each looks at `is_deleting` again in its own transaction."""
    resumable.unlink_all(store, user_id)
    last = 0
    fields = (Item.id, Item.name, Item.state, Item.pending_name)
    while True:
        query = Item.select(*fields).where(Item.user == user_id, Item.id > last)
        batch = list(query.order_by(Item.id).limit(_PURGE_BATCH))
        items.unlink(store, batch)
        if len(batch) < _PURGE_BATCH:
            break
        last = batch[-1].id

    def delete_some() -> int:
        some = Item.select(Item.id).where(Item.user == user_id).limit(_PURGE_BATCH)
        return int(Item.delete().where(Item.id.in_(some)).execute())

    while models.write(delete_some):
        pass
    models.write(lambda: User.delete().where(User.id == user_id).execute())
    items.forget_unused_tags()


def _find(username: str) -> User | None:
    if not credentials.USERNAME_PATTERN.fullmatch(username):
        return None
    user = User.get_or_none(User.username_key == username.lower())
    return None if user is None or user.is_deleting else user


def require_other_admin(user: User) -> None:
    """See, inside a write, that somebody else administers the host when `user` no longer does.

    Raises:
        Conflict: nobody would.
    """
    others = User.select().where(User.id != user.id, *_ACTIVE_ADMIN)
    is_active_admin = user.role == "admin" and not user.is_banned
    if is_active_admin and not others.exists():
        raise Conflict(_LAST_ADMIN)
