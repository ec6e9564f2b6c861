"""Keys of people: API keys for the f0ckm API, registration keys for an invite-only host."""

from contextlib import suppress
from datetime import timedelta

import audit
import credentials
import models
import statements
from errors import Conflict, Invalid, Moving, NotFound
from models import ApiKey, RegistrationKey, User

MAX_API_KEYS = 100
USED_GRAIN = timedelta(minutes=1)  # a key's last use is written at most this often


def create_api_key(user: User, name: str) -> tuple[ApiKey, str]:
    """A new API key of `user`; its text is told once, here.

    Args:
        name: 1 to 64 characters to know it by.

    Raises:
        Invalid: the name is not one.
        Conflict: the user has as many keys as one may have.
    """
    name = name.strip()
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise Invalid("The name of a key has 1 to 64 characters.")
    key = credentials.new_api_key()

    def work() -> ApiKey:
        if ApiKey.select().where(ApiKey.user == user.id).count() >= MAX_API_KEYS:
            raise Conflict(f"An account has at most {MAX_API_KEYS} keys; revoke one first.")
        return ApiKey.create(
            user=user.id, key_hash=credentials.hash_key(key), name=name, last4=key[-4:]
        )

    return models.write(work), key


def list_api_keys(user: User) -> list[ApiKey]:
    """The API keys of `user`, newest first."""
    return list(ApiKey.select().where(ApiKey.user == user.id).order_by(ApiKey.id.desc()))


def revoke_api_key(user: User, key_id: int) -> None:
    """Revoke an API key of `user`: its next request is refused.

    Raises:
        NotFound: the user has no such key.
    """
    mine = (ApiKey.id == key_id) & (ApiKey.user == user.id)
    if not models.write(lambda: ApiKey.delete().where(mine).execute()):
        raise NotFound("You have no key of this id.")


def find_user_by_api_key(key: str) -> User | None:
    """The active user whose API key this is, or None; notes the key's use."""
    user_id = find_sender(key)
    return None if user_id is None else statements.find_user("id", user_id)


def find_sender(key: str) -> int | None:
    """The id alone of that user: an upload needs no more."""
    if not credentials.API_KEY_PATTERN.fullmatch(key):
        return None
    found = statements.find_key(credentials.hash_key(key))
    if found is None:
        return None
    key_id, last_used, user_id = found
    moment = models.now()
    if last_used is None or moment - last_used >= USED_GRAIN:
        this = ApiKey.id == key_id
        with suppress(Moving):  # it can be read meanwhile
            models.write(ApiKey.update(last_used=moment).where(this).execute, of_user=user_id)
    return user_id


def create_registration_key(maker: User | None) -> str:
    """A key that admits one signup; `maker` is the admin, None for the operator."""
    key = credentials.new_registration_key()
    models.write(
        lambda: RegistrationKey.insert(
            key_hash=credentials.hash_key(key), last4=key[-4:], maker=maker and maker.id
        ).execute()
    )
    return key


def revoke_registration_key(admin: User, key_id: int) -> None:
    """Take an open registration key back.

    Raises:
        NotFound: there is no open one of this id.
    """

    def work() -> None:
        this = (RegistrationKey.id == key_id) & RegistrationKey.used.is_null()
        if not RegistrationKey.delete().where(this).execute():
            raise NotFound("There is no open key of this id.")
        audit.record(admin.id, "revoke registration key", f"key {key_id}")

    models.write(work)


def is_open_registration_key(key: str) -> bool:
    """Whether `key` would still admit a signup."""
    return bool(
        credentials.TOKEN_PATTERN.fullmatch(key)
        and RegistrationKey.select()
        .where(
            RegistrationKey.key_hash == credentials.hash_key(key), RegistrationKey.used.is_null()
        )
        .exists()
    )


def consume_registration_key(key: str) -> bool:
    """Use `key` up, inside the write that adds its user; False when somebody was faster."""
    changed = (
        RegistrationKey.update(used=models.now())
        .where(
            RegistrationKey.key_hash == credentials.hash_key(key), RegistrationKey.used.is_null()
        )
        .execute()
    )
    return changed == 1
