"""GET /metrics: who may read it, and that it counts what happened, under few and known labels."""

import re
import shutil
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

import errors
import metrics
import models
from tests.answers import NEEDS_ADMIN, UNKNOWN_TOKEN, told
from tests.conftest import PASSWORD, PNG, Kissa, Person

Samples = dict[tuple[str, tuple[str, ...]], float]


def read(text: str) -> Samples:
    """Name and values of the labels, in the order of the labels' names, to the figure."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(kissa: Kissa, admin: Person) -> Samples:
    answer = kissa.get("/metrics", admin.by_admin_token)
    assert answer.status_code == 200, answer.text
    assert answer.content_type == metrics.CONTENT_TYPE
    assert answer.headers["Cache-Control"] == "no-store"
    return read(answer.text)


def test_uploads_and_bytes(kissa: Kissa, alice: Person, admin: Person) -> None:
    before = scrape(kissa, admin)
    for api in ("nekos", "f0ckm"):
        assert before["kissa_uploads_total", (api,)] == 0
        assert before["kissa_upload_bytes_total", (api,)] == 0
    kissa.upload_name(alice, b"x" * 1000)
    kissa.upload_name(alice, b"x" * 500)
    kissa.item_id(alice)
    assert kissa.upload(alice, b"").status_code == 400
    after = scrape(kissa, admin)
    assert after["kissa_uploads_total", ("nekos",)] == 2
    assert after["kissa_upload_bytes_total", ("nekos",)] == 1500
    assert after["kissa_uploads_total", ("f0ckm",)] == 1
    assert after["kissa_upload_bytes_total", ("f0ckm",)] == len(PNG)
    assert after["kissa_refusals_total", ("nekos", "invalid")] == 1
    assert after["kissa_request_seconds_count", ("nekos", "POST", "2xx")] == 2
    assert after["kissa_request_seconds_count", ("nekos", "POST", "4xx")] == 1


def test_the_host_at_this_moment(kissa: Kissa, alice: Person, admin: Person) -> None:
    kissa.upload_name(alice)
    found = scrape(kissa, admin)
    assert found["kissa_files", ()] == 1
    assert found["kissa_users", ()] == 2
    assert found["kissa_build_info", ("1.0.0",)] == 1
    free = shutil.disk_usage(kissa.uploads).free
    is_file = kissa.services.config.database.is_file
    for what in ("storage", "database") if is_file else ("storage",):
        assert found["kissa_disk_free_bytes", (what,)] == pytest.approx(free, rel=0.05)


def test_a_lost_uploads_folder_takes_only_its_own_figure(kissa: Kissa, admin: Person) -> None:
    shutil.rmtree(kissa.uploads)
    found = scrape(kissa, admin)
    assert ("kissa_disk_free_bytes", ("storage",)) not in found
    is_file = kissa.services.config.database.is_file
    assert (("kissa_disk_free_bytes", ("database",)) in found) is is_file


@pytest.mark.parametrize(
    ("keys", "path", "status", "labels"),
    [
        ({}, "/api/files/list", 401, ("nekos", "unauthorized")),
        ({}, "/api/v2/upload", 401, ("f0ckm", "unauthorized")),
        ({}, "/api/nothing", 404, ("nekos", "not_found")),
        ({}, "/api/v2/nothing", 404, ("f0ckm", "not_found")),
        ({}, "/nothing/at/all", 404, ("web", "not_found")),
        ({}, "/healthz", 405, ("web", "other")),
        ({"accounts_registration": False}, "/api/user/signup", 403, ("nekos", "forbidden")),
    ],
)
def test_refusals_have_a_reason(
    start: Callable[..., Kissa],
    keys: dict[str, object],
    path: str,
    status: int,
    labels: tuple[str, str],
) -> None:
    kissa = start(**keys)
    admin = kissa.person("admin", admin=True)
    login = {"username": "carol", "password": PASSWORD}
    assert kissa.post(path, login).status_code == status
    assert scrape(kissa, admin)["kissa_refusals_total", labels] == 1


def test_every_kind_of_refusal_has_a_reason_of_its_own() -> None:
    statuses = [kind.status for kind in errors.ServiceError.__subclasses__()]
    assert len(statuses) == len(set(statuses))
    assert {*statuses, 500} == metrics.REASONS.keys()
    assert len(set(metrics.REASONS.values())) == len(metrics.REASONS)


def test_a_fault_of_ours_counts(
    kissa: Kissa, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr("upkeep.is_healthy", broken)
        assert kissa.get("/healthz").status_code == 500
    assert scrape(kissa, admin)["kissa_refusals_total", ("web", "fault")] == 1


def test_paths_and_methods_of_strangers_make_no_series(
    kissa: Kissa, alice: Person, admin: Person
) -> None:
    def ask(number: int) -> None:
        for prefix in ("/", "/api/", "/api/v2/", "/f/", "/delete/", "/apix/"):
            path = f"{prefix}stray{number}"
            for method in ("GET", "HEAD", "POST", "DELETE", f"STRAY{number}", f"Get{number}"):
                kissa.client.open(path, method=method)

    ask(0)
    before = scrape(kissa, admin)
    before |= scrape(kissa, admin)  # with the scrape itself
    for number in range(1, 20):
        ask(number)
    after = scrape(kissa, admin)
    assert after.keys() == before.keys()
    assert not [key for key in after if "stray" in str(key).lower()]
    for name, labels in after:
        if name == "kissa_refusals_total":
            assert labels[0] in metrics.APIS
            assert labels[1] in {*metrics.REASONS.values(), "other"}


def test_no_credential_and_no_name(kissa: Kissa, alice: Person, admin: Person) -> None:
    name = kissa.upload_name(alice)
    kissa.get(f"/api/info?token={alice.token}")
    kissa.get(f"/{alice.token}")
    text = kissa.get("/metrics", admin.by_admin_token).text
    for secret in (alice.token, alice.api_key, admin.token, admin.admin_token, PASSWORD, name):
        assert secret not in text
    for username in ("alice", "admin"):
        assert not re.search(rf"\b{username}\b", text)


def test_the_admin_token_comes_in_its_header_alone(
    kissa: Kissa, alice: Person, admin: Person
) -> None:
    token = admin.by_admin_token
    assert told(kissa.get("/metrics")) == UNKNOWN_TOKEN
    assert told(kissa.get("/metrics", json=token)) == UNKNOWN_TOKEN
    assert told(kissa.get("/metrics", data=token)) == UNKNOWN_TOKEN
    assert told(kissa.get("/metrics", query_string=token)) == UNKNOWN_TOKEN
    bearer = {"Authorization": f"Bearer {admin.admin_token}"}
    assert told(kissa.get("/metrics", bearer)) == UNKNOWN_TOKEN
    assert told(kissa.get("/metrics", alice.by_token)) == NEEDS_ADMIN
    assert told(kissa.get("/metrics", admin.by_token)) == NEEDS_ADMIN


def test_a_scrape_does_not_count_files(
    kissa: Kissa, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    run = models.database.obj.execute_sql

    def listen(sql: str, *values: object) -> object:
        asked.append(sql.lower())
        return run(sql, *values)

    monkeypatch.setattr(models.database.obj, "execute_sql", listen)
    scrape(kissa, admin)
    assert asked
    assert not [sql for sql in asked if re.search(r'\b(from|join) "?item', sql)]
