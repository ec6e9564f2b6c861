"""The races of tests/live/test_races.py, many times over; the short mode is that file itself."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.support import LONG
from tests.live.conftest import Server, make_server
from tests.live.test_races import Host, hosting

__all__ = ["host", "make_server"]
pytestmark = pytest.mark.live
ROUNDS = 200

if LONG:
    from tests.live.test_races import (
        test_approve_against_reject,
        test_deleting_a_user_against_uploads,
        test_double_delete,
        test_one_registration_key,
        test_one_username,
        test_the_last_admin_stays,
        test_the_quota_is_never_passed,
        test_token_renewal_against_uploads,
        test_uploads_in_a_minute_are_never_more,
    )

    __all__ += [
        "test_approve_against_reject",
        "test_deleting_a_user_against_uploads",
        "test_double_delete",
        "test_one_registration_key",
        "test_one_username",
        "test_the_last_admin_stays",
        "test_the_quota_is_never_passed",
        "test_token_renewal_against_uploads",
        "test_uploads_in_a_minute_are_never_more",
    ]


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def host(request: pytest.FixtureRequest, make_server: Callable[..., Server]) -> Iterator[Host]:
    yield from hosting(make_server, request.param, ROUNDS)
