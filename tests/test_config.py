"""The configuration: what is read, what is refused and how, and that its documents are true."""

import dataclasses
import errno
import os
import re
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import config
from config import KEYS, MB, Config, ConfigError, Key

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "config.example.ini"
DOCUMENT = ROOT / "docs" / "configuration.md"


def keys_where(select: Callable[[Key], bool] = lambda key: True) -> list[Any]:
    return [
        pytest.param(section, name, key, id=f"{section}.{name}")
        for section, keys in KEYS.items()
        for name, key in keys.items()
        if select(key)
    ]


S3 = "[storage]\nbackend = s3\nendpoint = http://s3.example\nbucket = kissa\n"
ALL_KEYS = keys_where()
NUMBERS = keys_where(lambda key: key.expected.startswith("a whole number"))
BOOLEANS = keys_where(lambda key: key.default in ("true", "false"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.ini"


def load_text(file: Path, text: str, **environ: str) -> Config:
    file.write_text(text, encoding="utf-8")
    return config.load(file, environ)


def load_key(file: Path, section: str, key: str, value: str) -> Config:
    return load_text(file, f"[{section}]\n{key} = {value}\n")


def faults_of(file: Path, text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_text(file, text, **environ)
    faults = caught.value.faults
    assert all(len(fault.splitlines()) == 1 for fault in faults)
    assert str(caught.value) == "\n".join(faults)
    return faults


# What is read


def test_defaults(file: Path) -> None:
    loaded = load_text(file, "")
    folder = file.parent.resolve()
    assert loaded == Config(
        site=config.Site(
            name="Kissa",
            url="http://127.0.0.1:8080/",
            upload_url="http://127.0.0.1:8080/f/",
            contact="",
            rules=None,
        ),
        server=config.Server(
            bind="127.0.0.1:8080",
            workers=1,
            threads=16,
            proxy_hops=0,
            log_format="text",
            drain_seconds=0,
        ),
        database=config.Database(url=f"sqlite:///{folder}/kissa.db", state=folder / "kissa"),
        storage=config.Storage(
            directory=folder / "uploads",
            durable=True,
            backend="local",
            endpoint="",
            bucket="",
            region="us-east-1",
            access_key="",
            secret_key="",
            prefix="",
            public_url="",
            presigned=True,
        ),
        uploads=config.Uploads(
            max_size_mb=100,
            name_length=7,
            quota_mb=0,
            blocked_extensions=frozenset(),
            per_minute=120,
            strip_metadata="listed",
            when_full="refuse",
            default_expiry=None,
            max_expiry=None,
            piece_mb=50,
        ),
        accounts=config.Accounts(
            registration=True,
            invite_only=False,
            admin_registration=False,
            admin_key="",
            bcrypt_cost=12,
            failures=10,
        ),
        gallery=config.Gallery(
            min_tags=3, shitpost_mode="allowed", manual_approval=False, visitors="all"
        ),
        folder=file.parent,
    )
    assert loaded.database.path == folder / "kissa.db"


def test_loading_touches_nothing(file: Path) -> None:
    load_text(file, "")
    assert list(file.parent.iterdir()) == [file]


def test_config_is_frozen_and_keeps_the_admin_key_to_itself(file: Path) -> None:
    loaded = load_key(file, "accounts", "admin_key", "correct horse battery")
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.accounts.admin_key = "other"  # type: ignore[misc]
    assert loaded.accounts.admin_key == "correct horse battery"
    assert "correct horse" not in repr(loaded)


def test_without_any_file_the_defaults_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "__file__", str(tmp_path / "config.py"))
    loaded = config.load(environ={})
    assert loaded.folder == tmp_path
    assert loaded.site.name == "Kissa"


def test_config_ini_beside_the_module_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "__file__", str(file.with_name("config.py")))
    file.write_text("[site]\nname = Beside\n")
    assert config.load(environ={}).site.name == "Beside"
    assert config.load(environ={"KISSA_CONFIG": ""}).site.name == "Beside"


def test_kissa_config_names_the_file_and_the_argument_wins(file: Path) -> None:
    file.write_text("[site]\nname = Named\n")
    other = file.with_name("other.ini")
    other.write_text("[site]\nname = Other\n")
    environ = {"KISSA_CONFIG": str(file)}
    assert config.load(environ=environ).site.name == "Named"
    assert config.load(other, environ).site.name == "Other"


def test_paths_are_relative_to_the_folder_of_the_file_not_to_the_cwd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc" / "my.ini").write_text(
        "[server]\nbind = unix:run/k.sock\nproxy_hops = 1\n"
        "[storage]\ndirectory = ../files\n[database]\nurl = sqlite:///db/k.db\n"
    )
    loaded = config.load(environ={"KISSA_CONFIG": "etc/my.ini"})
    top = tmp_path.resolve()
    assert loaded.folder == tmp_path / "etc"
    assert loaded.storage.directory == top / "files"
    assert loaded.database.path == top / "etc/db/k.db"
    assert loaded.server.bind == f"unix:{top}/etc/run/k.sock"


def test_a_linked_file_belongs_to_the_folder_of_the_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "config.ini").write_text("")
    link = tmp_path / "config.ini"
    link.symlink_to(tmp_path / "real" / "config.ini")
    assert config.load(link, {}).storage.directory == tmp_path.resolve() / "uploads"


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        pytest.param("site", "name", "50 % off", "50 % off", id="percent"),
        pytest.param("site", "name", "%(home)s", "%(home)s", id="no-interpolation"),
        pytest.param("site", "name", "a ; b # c", "a ; b # c", id="no-inline-comment"),
        pytest.param("site", "name", "a = b", "a = b", id="equals-sign"),
        pytest.param("site", "name", "猫カフェ", "猫カフェ", id="utf-8"),
        pytest.param("site", "name", "x" * 64, "x" * 64, id="name-64"),
        pytest.param("site", "url", "https://k.example", "https://k.example/", id="url-slash"),
        pytest.param("site", "url", "https://k.example/a", "https://k.example/a/", id="url-path"),
        pytest.param("site", "url", "HTTP://[::1]:80/", "http://[::1]:80/", id="url-v6"),
        pytest.param("site", "upload_url", "https://f.example", "https://f.example/", id="upload"),
        pytest.param("server", "bind", "[::1]:8080", "[::1]:8080", id="bind-v6"),
        pytest.param("server", "bind", "localhost:1", "localhost:1", id="bind-name"),
        pytest.param("server", "bind", "0.0.0.0:65535", "0.0.0.0:65535", id="bind-any"),
        pytest.param("server", "log_format", "JSON", "json", id="choice-any-case"),
        pytest.param("storage", "directory", "/srv/files", Path("/srv/files"), id="absolute"),
        pytest.param("database", "url", "sqlite:////srv/a.db", "sqlite:////srv/a.db", id="sqlite"),
        pytest.param(
            "database", "url", "postgresql://k@db/kissa", "postgresql://k@db/kissa", id="postgresql"
        ),
        pytest.param("uploads", "max_expiry", "2W", timedelta(days=14), id="duration"),
        pytest.param("uploads", "max_expiry", "36500d", timedelta(days=36500), id="longest"),
        pytest.param(
            "storage", "endpoint", "http://s3.example/", "http://s3.example", id="endpoint"
        ),
        pytest.param("storage", "prefix", "a/b-c", "a/b-c/", id="prefix"),
        pytest.param("storage", "prefix", "kissa/", "kissa/", id="prefix-with-its-slash"),
        pytest.param("uploads", "default_expiry", "", None, id="no-duration"),
        pytest.param(
            "uploads",
            "blocked_extensions",
            ".EXE, bat,,.tar.gz  com",
            {"exe", "bat", "tar.gz", "com"},
            id="extensions",
        ),
    ],
)
def test_accepted(file: Path, section: str, key: str, value: str, expected: object) -> None:
    loaded = load_key(file, section, key, value)
    assert getattr(getattr(loaded, section), key) == expected


def test_upload_url_follows_url(file: Path) -> None:
    loaded = load_key(file, "site", "url", "https://k.example/cat")
    assert loaded.site.upload_url == "https://k.example/cat/f/"


def test_sizes_in_bytes(file: Path) -> None:
    uploads = load_text(file, "[uploads]\nmax_size_mb = 2\nquota_mb = 5\n").uploads
    assert (uploads.max_bytes, uploads.max_body_bytes) == (2 * MB, 3 * MB)
    assert uploads.quota_bytes == 5 * MB


@pytest.mark.parametrize(("section", "key", "known"), NUMBERS)
def test_bounds_of_numbers(file: Path, section: str, key: str, known: Key) -> None:
    assert known.bounds is not None
    for value in known.bounds:
        loaded = load_key(file, section, key, str(value))
        assert getattr(getattr(loaded, section), key) == value
    low, high = known.bounds
    for value in (low - 1, high + 1):
        (fault,) = faults_of(file, f"[{section}]\n{key} = {value}\n")
        assert fault == f"{file}: [{section}] {key} = '{value}': expected {known.expected}"


@pytest.mark.parametrize(("section", "key", "known"), BOOLEANS)
def test_booleans(file: Path, section: str, key: str, known: Key) -> None:
    more = "[accounts]\nadmin_key = 0123456789abcdef\n"
    for text, expected in {
        **dict.fromkeys(("true", "Yes", "ON", "1"), True),
        **dict.fromkeys(("false", "No", "OFF", "0"), False),
    }.items():
        variable = f"KISSA_{section}_{key}".upper()
        loaded = load_text(file, more, **{variable: text})
        assert getattr(getattr(loaded, section), key) is expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufeff[site]\nname = Cat\n", id="byte-order-mark"),
        pytest.param("[site]\r\nname = Cat\r\n", id="windows-lines"),
        pytest.param("[ site ]\n   name=Cat", id="blanks"),
        pytest.param("# a\n; b\n\n[site]\n# name = Dog\n  ; x\nname = Cat\n", id="comments"),
    ],
)
def test_forms_of_the_file(file: Path, text: str) -> None:
    file.write_bytes(text.encode())
    assert config.load(file, {}).site.name == "Cat"


# The environment


@pytest.mark.parametrize(("section", "key", "known"), ALL_KEYS)
def test_every_key_can_come_from_the_environment(
    file: Path, section: str, key: str, known: Key
) -> None:
    variable = f"KISSA_{section}_{key}".upper()
    loaded = load_text(file, "", **{variable: f" {known.default} "})
    assert loaded == load_text(file, "")
    assert loaded.sources[f"{section}.{key}"] == variable


def test_environment_wins_over_the_file(file: Path) -> None:
    text = "[server]\nworkers = 2\nthreads = 5\n"
    loaded = load_text(file, text, KISSA_SERVER_WORKERS="3", KISSA_OTHER="x", HOME="/")
    assert (loaded.server.workers, loaded.server.threads) == (3, 5)
    assert loaded.sources["server.workers"] == "KISSA_SERVER_WORKERS"
    assert loaded.sources["server.threads"] == str(file)
    assert loaded.sources["server.bind"] == "default"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        pytest.param(
            "KISSA_SERVER_WORKERS",
            "many",
            "KISSA_SERVER_WORKERS: [server] workers = 'many': expected a whole number from 1 to 64",
            id="wrong-type",
        ),
        pytest.param(
            "KISSA_SERVER_WROKERS",
            "4",
            "KISSA_SERVER_WROKERS: [server] wrokers = '4': unknown key, "
            "expected bind, workers, threads, proxy_hops, log_format, drain_seconds",
            id="unknown-key",
        ),
        pytest.param(
            "KISSA_SERVER_workers",
            "4",
            "KISSA_SERVER_workers: [server] workers = '4': unknown key, "
            "expected bind, workers, threads, proxy_hops, log_format, drain_seconds",
            id="small-letters",
        ),
        pytest.param(
            "KISSA_SITE_NAME",
            "a\nb",
            "KISSA_SITE_NAME: [site] name = 'a\\nb': "
            "expected 1 to 64 characters, none of them a control character",
            id="line-break",
        ),
    ],
)
def test_refused_variables(file: Path, variable: str, value: str, expected: str) -> None:
    assert faults_of(file, "", **{variable: value}) == (expected,)


# What is refused


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        pytest.param("site", "name", "", id="name-empty"),
        pytest.param("site", "name", "x" * 65, id="name-65"),
        pytest.param("site", "name", "a\x1b[31mb", id="name-escape"),
        pytest.param("site", "name", "a\u2028b", id="name-line-separator"),
        pytest.param("site", "url", "", id="url-empty"),
        pytest.param("site", "url", "kissa.example", id="url-without-scheme"),
        pytest.param("site", "url", "ftp://kissa.example/", id="url-ftp"),
        pytest.param("site", "url", "https:///x", id="url-without-host"),
        pytest.param("site", "url", "https://:80/", id="url-port-alone"),
        pytest.param("site", "url", "https://k.example/?", id="url-query"),
        pytest.param("site", "url", "https://k.example/#a", id="url-fragment"),
        pytest.param("site", "url", "https://k.example:99999/", id="url-port"),
        pytest.param("site", "url", "https://k example/", id="url-blank"),
        pytest.param("site", "url", "https://käse.example/", id="url-not-ascii"),
        pytest.param("site", "url", "https://[::1/", id="url-bracket"),
        pytest.param("site", "upload_url", "/f/", id="upload-url-relative"),
        pytest.param("site", "contact", "x" * 201, id="contact-201"),
        pytest.param("server", "bind", "", id="bind-empty"),
        pytest.param("server", "bind", "8080", id="bind-port-alone"),
        pytest.param("server", "bind", ":8080", id="bind-no-host"),
        pytest.param("server", "bind", "127.0.0.1", id="bind-no-port"),
        pytest.param("server", "bind", "127.0.0.1:0", id="bind-port-0"),
        pytest.param("server", "bind", "127.0.0.1:65536", id="bind-port-65536"),
        pytest.param("server", "bind", "127.0.0.256:80", id="bind-address"),
        pytest.param("server", "bind", "::1:80", id="bind-v6-without-brackets"),
        pytest.param("server", "bind", "[::g]:80", id="bind-v6"),
        pytest.param("server", "bind", "unix:", id="bind-unix-empty"),
        pytest.param("server", "bind", "unix:/" + "x" * 107, id="bind-unix-long"),
        pytest.param("server", "workers", "", id="number-empty"),
        pytest.param("server", "workers", "1.5", id="number-fraction"),
        pytest.param("server", "workers", "1_0", id="number-underscore"),
        pytest.param("server", "workers", "+4", id="number-plus"),
        pytest.param("server", "workers", "٣", id="number-other-script"),
        pytest.param("server", "workers", "4 # four", id="number-comment"),
        pytest.param("server", "workers", "9" * 5000, id="number-huge"),
        pytest.param("server", "log_format", "xml", id="choice"),
        pytest.param("database", "url", "", id="database-empty"),
        pytest.param("database", "url", "kissa.db", id="database-no-scheme"),
        pytest.param("database", "url", "sqlite://kissa.db", id="database-two-slashes"),
        pytest.param("database", "url", "sqlite:///", id="database-no-path"),
        pytest.param("database", "url", "sqlite:///data/", id="database-folder"),
        pytest.param("database", "url", "sqlite:///:memory:", id="database-memory"),
        pytest.param("database", "url", "sqlite:///a.db?timeout=5", id="database-query"),
        pytest.param("database", "url", "postgresql://db/", id="database-postgresql-no-name"),
        pytest.param("database", "url", "mysql://db/kissa", id="database-other"),
        pytest.param("storage", "directory", "", id="directory-empty"),
        pytest.param("storage", "directory", "a\0b", id="directory-nul"),
        pytest.param("storage", "durable", "", id="boolean-empty"),
        pytest.param("storage", "durable", "maybe", id="boolean-other"),
        pytest.param("storage", "durable", "2", id="boolean-2"),
        pytest.param("uploads", "blocked_extensions", "exe, a/b", id="extension-slash"),
        pytest.param("uploads", "blocked_extensions", "x" * 11, id="extension-long"),
        pytest.param("uploads", "blocked_extensions", "*.exe", id="extension-star"),
        pytest.param("uploads", "when_full", "evict", id="when-full"),
        pytest.param("uploads", "max_expiry", "7", id="duration-without-unit"),
        pytest.param("uploads", "max_expiry", "0d", id="duration-0"),
        pytest.param("storage", "backend", "ftp", id="backend"),
        pytest.param("storage", "bucket", "ab", id="bucket-too-short"),
        pytest.param("storage", "bucket", "a/bc", id="bucket-with-slash"),
        pytest.param("storage", "endpoint", "s3.example", id="endpoint-without-scheme"),
        pytest.param("storage", "prefix", "/kissa/", id="prefix-from-a-slash"),
        pytest.param("storage", "prefix", "a//b", id="prefix-with-two-slashes"),
        pytest.param("storage", "prefix", "../b", id="prefix-upwards"),
        pytest.param("storage", "region", "", id="no-region"),
        pytest.param("uploads", "default_expiry", "never", id="duration-word"),
        pytest.param("uploads", "default_expiry", "36501d", id="duration-too-long"),
        pytest.param("gallery", "shitpost_mode", "never", id="shitpost-mode"),
        pytest.param("gallery", "visitors", "nsfw", id="visitors"),
    ],
)
def test_refused_values(file: Path, section: str, key: str, value: str) -> None:
    (fault,) = faults_of(file, f"[{section}]\n{key} = {value}\n")
    assert fault.startswith(f"{file}: [{section}] {key} = '")
    assert fault.endswith(f": expected {KEYS[section][key].expected}")
    assert fault.isprintable()
    assert len(fault) < 700


def test_a_ring_of_links_is_a_fault(file: Path) -> None:
    file.with_name("uploads").symlink_to("uploads")
    assert "[storage] directory = 'uploads': expected the path" in faults_of(file, "")[0]


SYNTAX = "expected a [section], below it key = value, or a # comment"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("workers = 4\n", f"line 1: {SYNTAX}", id="key-before-section"),
        pytest.param("[server]\n\nworkers\n", f"line 3: {SYNTAX}", id="no-equals-sign"),
        pytest.param("[server]\nworkers: 4\n", f"line 2: {SYNTAX}", id="colon"),
        pytest.param("[server]\n= 4\n", f"line 2: {SYNTAX}", id="no-key"),
        pytest.param("[server\n", f"line 1: {SYNTAX}", id="bracket-open"),
        pytest.param("[server] # ours\n", f"line 1: {SYNTAX}", id="comment-behind-section"),
        pytest.param(
            "[server]\n[server] workers = 4\n",
            "[server] [server] workers = '4': unknown key, "
            "expected bind, workers, threads, proxy_hops, log_format, drain_seconds",
            id="key-behind-section",
        ),
        pytest.param(
            "[sever]\nworkers = 4\nthreads = x\n",
            "[sever]: unknown section, "
            "expected one of site, server, database, storage, uploads, accounts, gallery",
            id="unknown-section",
        ),
        pytest.param(
            "[DEFAULT]\n",
            "[DEFAULT]: unknown section, "
            "expected one of site, server, database, storage, uploads, accounts, gallery",
            id="default-section",
        ),
        pytest.param(
            "[a\x1b\x85b]\n",
            "[a\\x1b\\x85b]: unknown section, "
            "expected one of site, server, database, storage, uploads, accounts, gallery",
            id="control-characters",
        ),
        pytest.param(
            "[storage]\nworkers = 4\n",
            "[storage] workers = '4': unknown key, expected directory, durable, backend, "
            "endpoint, bucket, region, access_key, secret_key, prefix, public_url, presigned",
            id="key-of-another-section",
        ),
        pytest.param(
            "[storage]\ndirectory = a\ndirectory = b\n",
            "[storage] directory = 'b': there again in line 3, expected once",
            id="key-twice",
        ),
        pytest.param(
            "[storage]\n[site]\n[storage]\n",
            "[storage]: there again in line 3, expected once",
            id="section-twice",
        ),
    ],
)
def test_refused_files(file: Path, text: str, expected: str) -> None:
    assert faults_of(file, text) == (f"{file}: {expected}",)


def test_not_utf_8_is_a_fault(file: Path) -> None:
    file.write_bytes("[site]\nname = Käse\n".encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        config.load(file, {"KISSA_SERVER_WORKERS": "0"})
    first, second = caught.value.faults
    assert first == f"{file}: line 2: not UTF-8, expected a file in UTF-8"
    assert second.startswith("KISSA_SERVER_WORKERS: ")


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_named_file_must_be_there(file: Path, by: str) -> None:
    environ = {"KISSA_CONFIG": str(file)} if by == "variable" else {}
    with pytest.raises(ConfigError) as caught:
        config.load(file if by == "argument" else None, environ)
    expected = f"{file}: expected a readable file (No such file or directory)"
    assert caught.value.faults == (expected,)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path, {})
    assert caught.value.faults == (f"{tmp_path}: expected a readable file (Is a directory)",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "[accounts]\nadmin_registration = on\n",
            "[accounts] admin_registration = 'on': expected an admin_key of 16 characters or more",
            id="no-admin-key",
        ),
        pytest.param(
            "[accounts]\nadmin_registration = on\nadmin_key = 123456789012345\n",
            "[accounts] admin_registration = 'on': expected an admin_key of 16 characters or more",
            id="admin-key-of-15",
        ),
        pytest.param(
            "[uploads]\ndefault_expiry = 15d\nmax_expiry = 2w\n",
            "[uploads] default_expiry = '15d': expected no later end than max_expiry",
            id="expiry",
        ),
        pytest.param(
            "[storage]\nbackend = s3\nbucket = kissa\n",
            "[storage] backend = 's3': expected endpoint to be set",
            id="s3-without-endpoint",
        ),
        pytest.param(
            f"{S3}access_key = public-name\n",
            "[storage] access_key = (hidden): expected access_key and secret_key both, or neither",
            id="s3-half-a-key",
        ),
        pytest.param(
            f"{S3}public_url = http://127.0.0.1:9000/kissa\n",
            "[storage] public_url = 'http://127.0.0.1:9000/kissa': "
            "expected another host than the site's, since its files have no CSP",
            id="s3-on-the-site's-host",
        ),
        pytest.param(
            f"{S3}public_url = https://Files.example/\n[site]\n"
            "url = https://kissa.example/\nupload_url = https://files.example/\n",
            "[storage] public_url = 'https://Files.example/': "
            "expected another host than the site's, since its files have no CSP",
            id="s3-on-the-files'-host",
        ),
        pytest.param(
            f"{S3}[uploads]\nmax_size_mb = 80001\n",
            "[uploads] max_size_mb = '80001': "
            "expected at most 80000: S3 takes 10,000 parts, ours of 8 MB",
            id="s3-too-many-parts",
        ),
        pytest.param(
            "[accounts]\ninvite_only = yes\nregistration = no\n",
            "[accounts] invite_only = 'yes': expected registration to be on",
            id="invite-only-without-registration",
        ),
        pytest.param(
            "[server]\nbind = unix:k.sock\n",
            "[server] bind = 'unix:k.sock': "
            "expected proxy_hops of 1 or more, else all clients share one address",
            id="unix-without-proxy",
        ),
        pytest.param(
            "[storage]\ndirectory = .\n",
            "[storage] directory = '.': "
            "expected a folder without the database, since its files are public",
            id="database-among-the-uploads",
        ),
    ],
)
def test_refused_combinations(file: Path, text: str, expected: str) -> None:
    assert faults_of(file, text) == (f"{file}: {expected}",)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[accounts]\nadmin_key = short\n", id="short-key-unused"),
        pytest.param(
            "[accounts]\nadmin_registration = on\nadmin_key = 1234567890123456\n", id="key-of-16"
        ),
        pytest.param("[accounts]\ninvite_only = on\n", id="invite-only"),
        pytest.param("[accounts]\nregistration = off\n", id="closed"),
        pytest.param("[server]\nbind = unix:/run/k.sock\nproxy_hops = 1\n", id="unix-and-proxy"),
    ],
)
def test_good_combinations(file: Path, text: str) -> None:
    assert load_text(file, text)


def test_all_faults_at_once(file: Path) -> None:
    text = """
lost = 1
[sever]
x = 1
[server]
workers = 0
threads = many
threads = 4
wrokers
[storage]
folder = x
[accounts]
invite_only = on
registration = off
"""
    found = faults_of(file, text, KISSA_GALLERY_MIN_TAGS="51", KISSA_SITE_TITLE="Cat")
    for part in (
        "line 2: ",
        "[sever]: unknown section",
        "[server] threads = '4': there again in line 8",
        "line 9: ",
        "[storage] folder = 'x': unknown key",
        "KISSA_SITE_TITLE: [site] title = 'Cat': unknown key",
        "[server] workers = '0'",
        "[server] threads = 'many': expected a whole",
        "KISSA_GALLERY_MIN_TAGS: [gallery] min_tags = '51'",
        "[accounts] invite_only = 'on'",
    ):
        assert len([fault for fault in found if part in fault]) == 1, part
    assert len(found) == 10


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        pytest.param(f"[accounts]\nadmin_key = {SECRET}\x07\n", {}, id="control-character"),
        pytest.param(f"[accounts]\nadmin_key = {SECRET * 20}\n", {}, id="too-long"),
        pytest.param("", {"KISSA_ACCOUNTS_ADMIN_KEY": f"{SECRET}\x07"}, id="variable"),
        pytest.param(f"[accounts]\nadmin_key = x\nadmin_key = {SECRET}\n", {}, id="twice"),
        pytest.param(f"[accounts]\nadmin_kye = {SECRET}\n", {}, id="misspelt"),
        pytest.param("", {"KISSA_ACCOUNTS_ADMINKYE": SECRET}, id="misspelt-variable"),
        pytest.param(f"[server]\nAdmin_Key = {SECRET}\n", {}, id="other-section"),
        pytest.param(f"[sever]\nadmin_key = {SECRET}\n", {}, id="unknown-section"),
        pytest.param(f"[accounts]\nadmin_key: {SECRET}\n", {}, id="syntax"),
        pytest.param(f"[accounts]\nadmin_key =\n  {SECRET}\n", {}, id="next-line"),
        pytest.param(
            f"[accounts]\nadmin_registration = on\nadmin_key = {SECRET}\n", {}, id="too-short"
        ),
        pytest.param(
            f"[database]\nurl = mysql://kissa:{SECRET}@db/kissa\n", {}, id="database-password"
        ),
    ],
)
def test_secrets_are_never_told(file: Path, text: str, environ: dict[str, str]) -> None:
    assert "hunter2" not in "\n".join(faults_of(file, text, **environ))


def test_a_hidden_value_is_said_to_be_hidden(file: Path) -> None:
    (fault,) = faults_of(file, "[accounts]\nadmin_key = a\x07b\n")
    assert fault.startswith(f"{file}: [accounts] admin_key = (hidden): expected 0 to 256")


# Places that can be written


def test_writable_places_are_made_and_left_empty(file: Path) -> None:
    loaded = load_key(file, "storage", "directory", "new/uploads")
    assert config.writable_faults(loaded) == []
    assert config.writable_faults(loaded) == []
    assert list(loaded.storage.directory.iterdir()) == []
    assert sorted(path.name for path in file.parent.iterdir()) == ["config.ini", "new"]


def test_places_that_cannot_be_written_are_told(file: Path) -> None:
    file.with_name("taken").write_text("")
    text = "[storage]\ndirectory = taken\n"
    loaded = load_text(file, text, KISSA_DATABASE_URL="sqlite:///missing/kissa.db")
    folder = file.parent.resolve()
    assert config.writable_faults(loaded) == [
        f"{file}: [storage] directory = '{folder}/taken': "
        f"expected to be able to write in {folder}/taken (File exists)",
        f"KISSA_DATABASE_URL: [database] url = 'sqlite:///{folder}/missing/kissa.db': "
        f"expected to be able to write in {folder}/missing (No such file or directory)",
    ]
    assert not (folder / "missing").exists()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_folders_without_permission_are_told() -> None:
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, where nobody else gets in
        file = Path(folder, "config.ini")
        loaded = load_text(file, "")
        loaded.storage.directory.mkdir(mode=0o500)
        if os.geteuid() == 0:
            for path in (Path(folder), file, loaded.storage.directory):
                os.chown(path, 65534, 65534)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:  # root may write everywhere
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                os.write(writer, "\n".join(config.writable_faults(loaded)).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as told:
            (fault,) = told.read().splitlines()
        os.waitpid(child, 0)
    assert fault.endswith("(Permission denied)")


@pytest.mark.parametrize(
    ("number", "count"),
    [
        pytest.param(errno.ENOSPC, 0, id="disk-full"),
        pytest.param(errno.EDQUOT, 0, id="disk-quota"),
        pytest.param(errno.EROFS, 2, id="read-only"),
        pytest.param(errno.EACCES, 2, id="forbidden"),
    ],
)
def test_a_full_disk_is_no_fault(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int, count: int
) -> None:
    def refuse(dir: Path) -> None:
        raise OSError(number, os.strerror(number))

    loaded = load_text(file, "")
    monkeypatch.setattr(config.tempfile, "TemporaryFile", refuse)
    assert len(config.writable_faults(loaded)) == count


def test_a_database_that_cannot_be_written_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_text(file, "")
    loaded.database.path.write_text("")
    monkeypatch.setattr(config.os, "access", lambda path, mode: False)
    (fault,) = config.writable_faults(loaded)
    assert "[database] url = " in fault
    assert fault.endswith("(Permission denied)")


# The documents


def test_example_shows_every_key_with_its_help_commented_out() -> None:
    shown = []
    help = section = ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line[1:-1]
        elif line.startswith("# "):
            help = line[2:]
        elif line.startswith(";"):
            name, _, default = line[1:].partition("=")
            shown.append((section, name.strip(), default.strip(), help))
            help = ""
        else:
            assert line == ""
    assert shown == [
        (section, name, key.default, key.help)
        for section, keys in KEYS.items()
        for name, key in keys.items()
    ]


def test_example_changes_nothing_as_it_is_nor_uncommented(file: Path) -> None:
    defaults = load_text(file, "")
    text = EXAMPLE.read_text(encoding="utf-8")
    assert load_text(file, text) == defaults
    uncommented = load_text(file, re.sub("(?m)^;", "", text))
    assert uncommented == defaults
    assert set(uncommented.sources.values()) == {str(file)}


def test_document_has_one_true_row_for_every_key() -> None:
    rows = []
    section = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| `"):
            rows.append((section, *(cell.strip() for cell in line.strip("|").split("|"))))
    assert rows == [
        (
            f"[{section}]",
            f"`{name}`",
            f"`{key.default}`" if key.default else "(empty)",
            key.expected,
            key.help,
        )
        for section, keys in KEYS.items()
        for name, key in keys.items()
    ]


def test_faults_shown_in_the_document_are_those_told(file: Path) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    (command,) = re.findall(r"```sh\n(KISSA_.*)\n```", text)
    environ = dict(word.split("=") for word in command.split() if "=" in word)
    assert "```\n" + "\n".join(faults_of(file, "", **environ)) + "\n```" in text


@pytest.mark.parametrize(("section", "key", "known"), ALL_KEYS)
def test_every_key_says_what_it_is(section: str, key: str, known: Key) -> None:
    assert known.help.endswith(".")
    assert len(f"# {known.help}") <= 100
    assert "|" not in known.help + known.expected
