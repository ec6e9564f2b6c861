"""Small tests of safeguards that otherwise only a race would show, by bad luck."""

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import accounts
import keys
import models
from errors import TooMany
from models import Item, User
from tests.conftest import Kissa, Person
from tests.live.conftest import until
from tests.multipart import (
    MULTIPART,
    UNANNOUNCED,
    Endpoint,
    both_endpoints,
    check_nothing_left,
    check_refused,
    send,
)
from throttle import Guess, Places


class Meanwhile(io.BytesIO):
    """A body, during whose first read something else happens."""

    def __init__(self, body: bytes, act: Callable[[], object]) -> None:
        super().__init__(body)
        self.act: Callable[[], object] | None = act

    def read(self, size: int | None = -1, /) -> bytes:
        if self.act is not None:
            act, self.act = self.act, None
            act()
        return super().read(size)


@both_endpoints
@pytest.mark.parametrize("fate", ["banned", "deleted", "being deleted"])
def test_a_user_banned_while_the_body_arrives(
    kissa: Kissa, alice: Person, bob: Person, endpoint: Endpoint, fate: str
) -> None:
    user = User.get(User.username == "alice")
    mark = User.update(is_deleting=True).where(User.id == user.id)
    acts: dict[str, Callable[[], object]] = {
        "banned": lambda: accounts.ban(None, "alice"),
        "deleted": lambda: accounts.delete(kissa.services.storage, user),
        "being deleted": lambda: models.write(mark.execute),
    }
    body: Any = Meanwhile(endpoint.body(), acts[fate])
    environ = {key.replace("__", "."): value for key, value in UNANNOUNCED.items()}
    answer = kissa.post(
        endpoint.path,
        endpoint.headers(alice),
        input_stream=body,
        content_type=MULTIPART,
        environ_overrides=environ,
    )
    assert body.act is None
    assert answer.status_code == 401, answer.text
    assert kissa.files() == set()
    assert Item.select().count() == 0


@both_endpoints
@pytest.mark.parametrize("missing", [1, 2, 3, 4, 5])
def test_a_body_that_lacks_its_last_bytes(
    kissa: Kissa, alice: Person, endpoint: Endpoint, missing: int
) -> None:
    """The last boundary ends in `--` and a line end, which no parser needs to see."""
    body = endpoint.body()
    # gunicorn says nothing of it either: its stream just ends
    announced = UNANNOUNCED | {"CONTENT_LENGTH": str(len(body))}
    answer = send(kissa, endpoint, alice, body[:-missing], **announced)
    check_refused(answer, 400)
    check_nothing_left(kissa)


def test_a_registration_key_is_consumed_once(kissa: Kissa) -> None:
    key = keys.create_registration_key(None)
    assert models.write(lambda: keys.consume_registration_key(key)) is True
    assert models.write(lambda: keys.consume_registration_key(key)) is False


def test_a_guess_looks_again_when_it_begins(kissa: Kissa) -> None:
    """All may have looked before the first one began."""
    guesses = [Guess(3, "192.0.2.1", "alice") for _ in range(4)]
    for guess in guesses:
        guess.require_allowed()
    for guess in guesses[:3]:
        guess.begin()
    with pytest.raises(TooMany):
        guesses[3].begin()


def test_who_waits_for_bcrypt_is_not_overtaken(tmp_path: Path) -> None:
    places = Places(tmp_path / "place", 1)
    order = []

    def take(address: str) -> None:
        with places.take(address):
            order.append(address)

    first = threading.Thread(target=take, args=("192.0.2.1",))
    with places.take("198.51.100.7"):
        first.start()
        until(lambda: places._waiting == ["192.0.2.1"], "the first one waits")
    take("198.51.100.7")  # as who comes again at once
    first.join()
    assert order == ["192.0.2.1", "198.51.100.7"]
