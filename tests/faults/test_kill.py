"""kill -9 of every process of the server under load: nothing acknowledged is lost or comes back."""

import random
import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import Found, Host
from tests.faults.load import Load, Record
from tests.faults.support import choose

pytestmark = pytest.mark.live
KILLS = choose(20, 200)
SPELL = (0.2, choose(0.4, 1.0))  # seconds between a start and its kill


def test_kill_9_loses_nothing_acknowledged(make_host: Callable[..., Host]) -> None:
    host = make_host()
    person = host.person("alice")
    record = Record()
    compared: set[str] = set()
    began = time.monotonic()
    swept = 0
    for kill in range(KILLS):
        with Load(host.port, person, record, seed=kill) as load:
            time.sleep(random.uniform(*SPELL))
            load.until(1)
            host.kill()
        before = Found(host.database, host.uploads, record, known=set(record.kept))
        swept += len(before.orphans)
        host.configure(**host.keys, server_workers=kill % 2 + 1)
        host.start()
        found = Found(host.database, host.uploads, record, known=compared)
        assert found.faults == {}, f"after kill {kill + 1}: {host.log[-4000:]}"
        fresh = set(record.kept) - compared
        for name in sorted(fresh)[-20:]:
            assert record.fits(name, host.get(f"/f/{name}").content), name
        compared = set(record.kept)
    for name in random.sample(sorted(record.deleted), min(50, len(record.deleted))):
        assert host.get(f"/f/{name}").status_code == 404, name
    found = Found(host.database, host.uploads, record)
    print(
        f"kill: kills={KILLS} {record.figures} lost={len(found.lost) + len(found.corrupt)}"
        f" back={len(found.back)} orphans={len(found.orphans)} swept={swept}"
        f" seconds={time.monotonic() - began:.0f}"
    )
    assert found.faults == {}
    assert record.odd == []
    assert record.deleted
    assert len(record.kept) > KILLS
    for name in found.names - found.files:  # a delete cut short: it can be done again
        host.ask("/api/files/delete", person.by_token | {"file": name})
    assert "all fine" in host.flask("check", "--hash").stdout
    host.require_quiet()
