"""The statements that stand as text agree with the tables, column by column."""

from typing import Any

import pytest

import credentials
import models
import statements
from models import ApiKey, Item, User
from tests.conftest import Clock, Kissa, Person


@pytest.mark.parametrize("column", ["id", "token_hash"])
def test_a_user_is_what_the_model_reads(kissa: Kissa, alice: Person, column: str) -> None:
    stored = User.get(User.username == "alice")
    found = statements.find_user(column, getattr(stored, column))
    assert found is not None
    assert found.__data__ == stored.__data__
    assert statements.find_user(column, 404 if column == "id" else b"none such") is None


def test_an_item_has_every_value_that_was_given(kissa: Kissa, alice: Person, clock: Clock) -> None:
    user = User.get(User.username == "alice")
    values = {
        "name": "abcdefg.png",
        "original_name": "a.png",
        "size": 7,
        "sha256": bytes(32),
        "state": "listed",
        "pending_name": "b" * 32,
        "rating": "sfw",
        "is_oc": True,
        "is_shitpost": True,
        "deletion_hash": bytes(range(32)),
        "expires": clock().replace(microsecond=0),
    }
    item_id = models.write(lambda: statements.insert_item(user.id, **values))
    assert item_id is not None
    later = {"width", "height", "reason", "reviewed", "pinned"}  # known after the upload
    stored: Any = Item.select().where(Item.id == item_id).dicts().get()
    made = {"id": item_id, "user": user.id, "created": stored["created"]}
    assert {name: stored[name] for name in stored.keys() - later} == values | made
    assert later <= stored.keys()
    assert models.write(lambda: statements.insert_item(user.id, **values)) is None  # the name


def test_senders_and_rights(kissa: Kissa, alice: Person) -> None:
    user = User.get(User.username == "alice")
    key = ApiKey.get(ApiKey.user == user.id)
    assert statements.find_sender(user.token_hash) == user.id
    assert statements.find_key(credentials.hash_key(alice.api_key)) == (
        key.id,
        key.last_used,
        user.id,
    )
    rights = statements.find_rights(user.id)
    assert rights is not None
    assert (rights.is_active, rights.bytes, rights.quota_mb) == (True, user.bytes, user.quota_mb)
    for gone in ("is_banned", "is_deleting"):
        User.update({gone: True}).execute()
        assert statements.find_sender(user.token_hash) is None
        assert statements.find_key(key.key_hash) is None
        rights = statements.find_rights(user.id)
        assert rights is not None
        assert not rights.is_active
        User.update({gone: False}).execute()
    assert statements.find_rights(user.id + 1) is None
