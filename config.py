"""config.ini and the environment, read into one frozen, validated Config."""

# _field() and its callers are dataclasses.field(), which ruff cannot see.
# ruff: noqa: RUF009

import errno
import ipaddress
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

MB = 1_048_576
_MOST_BY_S3 = 80_000
LONGEST = timedelta(days=36_500)  # beyond it an expiry is none, and the calendar ends some day
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(?P<number>[0-9]{1,8})(?P<unit>[mhdw])", re.ASCII)

Backend = Literal["local", "s3"]
BACKENDS = get_args(Backend)
LogFormat = Literal["text", "json"]
StripMetadata = Literal["listed", "all", "off"]
ShitpostMode = Literal["allowed", "off", "always"]
WhenFull = Literal["refuse", "evict_oldest"]
Visitors = Literal["all", "sfw", "none"]


class ConfigError(Exception):
    """The configuration cannot be used; `faults` holds one line for each reason."""

    def __init__(self, faults: list[str]) -> None:
        self.faults: tuple[str, ...] = tuple(map(_one_line, faults))
        super().__init__("\n".join(self.faults))


@dataclass(frozen=True, slots=True)
class Key:
    """What there is to say about one key, in the metadata of its field.

    `default` is text as in config.ini; `read` turns text and the configuration's folder into
    the value, or raises ValueError; `bounds` are those of a number or of a text's length.
    """

    default: str
    help: str
    expected: str
    read: Callable[[str, Path], Any]
    bounds: tuple[int, int] | None = None
    secret: bool = False


def _field(*args: Any, **more: Any) -> Any:
    key = Key(*args, **more)
    return field(metadata={"key": key}, repr=not key.secret)


def _integer(default: int, low: int, high: int, help: str) -> Any:
    def read(text: str, folder: Path) -> int:
        # int() alone would take 1_000 and other scripts' digits.
        if not re.fullmatch(r"[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return _field(str(default), help, f"a whole number from {low} to {high}", read, (low, high))


def _boolean(default: str, help: str) -> Any:
    # Yes and no by turns; index() raises the ValueError.
    words = ("true", "false", "yes", "no", "on", "off", "1", "0")
    expected = f"one of {', '.join(words)}"
    return _field(default, help, expected, lambda text, _: words.index(text.lower()) % 2 == 0)


def _choice(options: tuple[str, ...], help: str) -> Any:
    """The first option is the default."""
    expected = f"one of {', '.join(options)}"
    return _field(options[0], help, expected, lambda text, _: options[options.index(text.lower())])


def _text(default: str, low: int, high: int, help: str, secret: bool = False) -> Any:
    def read(text: str, folder: Path) -> str:
        if not low <= len(text) <= high:
            raise ValueError
        return text

    expected = f"{low} to {high} characters, none of them a control character"
    return _field(default, help, expected, read, (low, high), secret)


def _read_url(text: str, folder: Path) -> str:
    # Printable ASCII, since it goes into headers; no braces, since ShareX gives them a meaning.
    if not re.fullmatch(r"""[^\s\x80-\U0010ffff?#@\\"'<>{}|^`]+""", text):
        raise ValueError
    parts = urlsplit(text)
    # .port raises ValueError by itself.
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/"


def _read_pattern(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ValueError
    return text


def _read_prefix(text: str, folder: Path) -> str:
    if not re.fullmatch(r"([A-Za-z0-9_-][A-Za-z0-9._-]*(/|$))*", text, re.ASCII) or len(text) > 200:
        raise ValueError
    return f"{text.rstrip('/')}/" if text else ""


def _read_path(text: str, folder: Path) -> Path:
    if not text:
        raise ValueError
    return (folder / text).resolve()


def _read_bind(text: str, folder: Path) -> str:
    if text.startswith("unix:"):
        path = _read_path(text.removeprefix("unix:"), folder)
        if len(os.fsencode(path)) > 107:  # all that fits in the kernel's sockaddr_un
            raise ValueError
        return f"unix:{path}"
    match = re.fullmatch(r"(?:\[(?P<v6>.+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})", text)
    if not match or not 1 <= int(match["port"]) <= 65535:
        raise ValueError
    if match["v6"]:
        ipaddress.IPv6Address(match["v6"])
    elif re.fullmatch(r"[0-9.]+", match["host"]):
        ipaddress.IPv4Address(match["host"])
    return text


def _read_database_url(text: str, folder: Path) -> str:
    if text.startswith("postgresql://"):
        if not urlsplit(text).path.strip("/"):
            raise ValueError
        return text
    name = text.removeprefix("sqlite:///")
    if name == text or name == ":memory:" or name.endswith("/") or set(name) & set("?#"):
        raise ValueError
    return f"sqlite:///{_read_path(name, folder)}"


def duration(text: str) -> timedelta | None:
    """The length of time that a text such as 30m, 12h, 7d or 2w says; None when it says none.

    Without an upper bound, since a century of weeks is as well written as one week.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    return timedelta(**{_UNITS[match["unit"]]: int(match["number"])}) if match else None


def _read_duration(text: str, folder: Path) -> timedelta | None:
    length = duration(text)
    if text and (length is None or not timedelta() < length <= LONGEST):
        raise ValueError
    return length


def _read_extensions(text: str, folder: Path) -> frozenset[str]:
    names = [name.removeprefix(".") for name in re.split(r"[,\s]+", text.lower()) if name]
    if not all(re.fullmatch(r"(tar\.)?[a-z0-9]{1,10}", name) for name in names):
        raise ValueError
    return frozenset(names)


_EXPIRY = "empty, or a whole number and m, h, d or w, at most 36500d"
_URL = "an http or https URL with a host, without user, query or fragment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Who we are and under which addresses; both URLs end in a slash."""

    name: str = _text("Kissa", 1, 64, "Name of the site, shown to visitors.")
    url: str = _field(
        "http://127.0.0.1:8080/", "Address of the site, as browsers reach it.", _URL, _read_url
    )
    upload_url: str = _field(
        "",
        "Address below which the files are served; empty means url followed by f/.",
        f"empty, or {_URL}",
        lambda text, folder: text and _read_url(text, folder),  # load() fills in the empty one
    )
    contact: str = _text("", 0, 200, "How to reach the operator, shown to visitors.")
    rules: Path | None = _field(
        "",
        "Text file with the rules of the site, shown at /rules.",
        "empty, or the path of a text file",
        lambda text, folder: _read_path(text, folder) if text else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where and how the server runs; a path in `bind` is absolute."""

    bind: str = _field(
        "127.0.0.1:8080",
        "Where the server listens; with unix:PATH, proxy_hops must be 1 or more.",
        "HOST:PORT, [IPV6]:PORT or unix:PATH (an absolute path of at most 107 bytes)",
        _read_bind,
    )
    workers: int = _integer(1, 1, 64, "Number of server processes.")
    threads: int = _integer(16, 1, 256, "Requests that one process answers at the same time.")
    proxy_hops: int = _integer(0, 0, 10, "Number of trusted reverse proxies in front.")
    log_format: LogFormat = _choice(get_args(LogFormat), "Form of the log lines.")
    drain_seconds: int = _integer(
        0, 0, 300, "How long a stopping server serves on while /healthz answers 503."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The one database; paths are absolute."""

    url: str = _field(
        "sqlite:///kissa.db",
        "The database: a file, beside which the server secret is kept, or a PostgreSQL server's.",
        "sqlite:///PATH, sqlite:////ABSOLUTE/PATH or postgresql://USER:PASSWORD@HOST/NAME",
        _read_database_url,
    )
    state: Path = _field(
        "kissa",
        "With PostgreSQL: where this host's secret and locks lie, as PATH.secret and so on.",
        "a path",
        _read_path,
    )

    def __repr__(self) -> str:
        return f"Database(url={without_password(self.url)!r}, state={str(self.state)!r})"

    @property
    def is_file(self) -> bool:
        """Whether it is an SQLite file."""
        return self.url.startswith("sqlite:")

    @property
    def path(self) -> Path:
        """What the files of this host's own are named after: the SQLite file, if it is one."""
        return Path(self.url.removeprefix("sqlite:///")) if self.is_file else self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where the files are kept; `directory` is absolute."""

    directory: Path = _field(
        "uploads",
        "Folder of the uploaded files; the database must not lie in it.",
        "the path of a folder",
        _read_path,
    )
    durable: bool = _boolean(
        "true", "Wait for the disk; false is quicker, and a crash loses files."
    )
    backend: Backend = _choice(
        BACKENDS, "Where the files are: in that folder, or in a bucket by S3's protocol."
    )
    endpoint: str = _field(
        "",
        "S3: the address of the server.",
        f"empty, or {_URL}",
        lambda text, folder: text and _read_url(text, folder).rstrip("/"),
    )
    bucket: str = _field(
        "",
        "S3: the bucket, which must be there.",
        "empty, or 3 to 63 letters, digits, dots, hyphens or underscores",
        lambda text, folder: _read_pattern(r"([A-Za-z0-9][A-Za-z0-9._-]{2,62})?", text),
    )
    region: str = _field(
        "us-east-1",
        "S3: the region, as the server names it.",
        "1 to 64 letters, digits or hyphens",
        lambda text, folder: _read_pattern(r"[A-Za-z0-9-]{1,64}", text),
    )
    access_key: str = _text(
        "", 0, 256, "S3: the name of the key; empty leaves both to boto3 (IAM roles).", True
    )
    secret_key: str = _text("", 0, 256, "S3: the key's secret.", True)
    prefix: str = _field(
        "",
        "S3: what all keys begin with, such as kissa/.",
        "empty, or letters, digits, dots, hyphens, underscores and single slashes",
        _read_prefix,
    )
    public_url: str = _field(
        "",
        "S3: address of the bucket for browsers, on a host of its own; empty: reads go through us.",
        f"empty, or {_URL}",
        lambda text, folder: text and _read_url(text, folder),
    )
    presigned: bool = _boolean(
        "true", "S3: whether nginx, and browsers beside public_url, read by presigned addresses."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """What may be uploaded, and how much; extensions are in lower case, without their dot."""

    max_size_mb: int = _integer(100, 1, 1_048_576, "Largest file, in MB of 1,048,576 bytes.")
    name_length: int = _integer(7, 5, 32, "Length of the random names, without extension.")
    quota_mb: int = _integer(0, 0, 1_073_741_824, "Space for each user, in MB; 0 means no limit.")
    blocked_extensions: frozenset[str] = _field(
        "",
        "Extensions that are refused, separated by commas or blanks.",
        "extensions of 1 to 10 letters or digits, separated by commas or blanks",
        _read_extensions,
    )
    per_minute: int = _integer(120, 0, 100_000, "Uploads by a user in a minute; 0 means no limit.")
    strip_metadata: StripMetadata = _choice(
        get_args(StripMetadata), "Pictures that lose place, camera and remarks."
    )
    when_full: WhenFull = _choice(
        get_args(WhenFull), "What an upload does that would pass its sender's quota."
    )
    default_expiry: timedelta | None = _field(
        "",
        "When a file ends whose sender says nothing, such as 30d; empty means never.",
        _EXPIRY,
        _read_duration,
    )
    max_expiry: timedelta | None = _field(
        "",
        "The latest end that a sender may choose, such as 1w; empty means any, and never.",
        _EXPIRY,
        _read_duration,
    )
    piece_mb: int = _integer(
        50, 1, 1024, "Size of the pieces in which the upload page sends larger files, in MB."
    )

    @property
    def max_bytes(self) -> int:
        """The largest file, in bytes."""
        return self.max_size_mb * MB

    @property
    def piece_bytes(self) -> int:
        """The pieces of the upload page, in bytes."""
        return self.piece_mb * MB

    @property
    def max_body_bytes(self) -> int:
        """The longest request body of an upload, in bytes: a file and 1 MiB of fields."""
        return self.max_bytes + MB

    @property
    def quota_bytes(self) -> int:
        """The space for each user, in bytes; 0 is no limit."""
        return self.quota_mb * MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Who may sign up, and what guards the passwords; an empty `admin_key` is none."""

    registration: bool = _boolean("true", "Whether people may sign up.")
    invite_only: bool = _boolean("false", "Whether signing up takes a registration key.")
    admin_registration: bool = _boolean("false", "Whether the admin key makes admins by the API.")
    admin_key: str = _text(
        "", 0, 256, "Key for making admins; with admin_registration 16 characters or more.", True
    )
    bcrypt_cost: int = _integer(12, 4, 16, "Cost of a password hash; one more doubles its time.")
    failures: int = _integer(
        10, 0, 1000, "Failed logins by a name and address in 15 minutes; 0 means no limit."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The rules of listed items, and who sees them."""

    min_tags: int = _integer(3, 0, 50, "Tags that a listed upload needs.")
    shitpost_mode: ShitpostMode = _choice(
        get_args(ShitpostMode),
        "Uploads without rating and tags: those marked as shitpost, none, or any.",
    )
    manual_approval: bool = _boolean("false", "Whether listed uploads wait for an admin.")
    visitors: Visitors = _choice(
        get_args(Visitors), "Ratings shown without login; none closes the front and item pages."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration; relative paths were relative to `folder`.

    `sources` tells for "section.key" where its value came from, for messages.
    """

    site: Site
    server: Server
    database: Database
    storage: Storage
    uploads: Uploads
    accounts: Accounts
    gallery: Gallery
    folder: Path
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


SECTIONS: dict[str, Any] = {
    entry.name: entry.type for entry in fields(Config) if entry.name not in ("folder", "sources")
}
KEYS: dict[str, dict[str, Key]] = {
    section: {entry.name: entry.metadata["key"] for entry in fields(kind)}
    for section, kind in SECTIONS.items()
}


# {(section, key): (the file or variable, text)}
_Given = dict[tuple[str, str], tuple[str, str]]


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration; nothing is written, made or opened but the file itself.

    path: the file; without it the one in KISSA_CONFIG, else config.ini beside this module,
    the only one that may be missing.
    environ: the environment; KISSA_<SECTION>_<KEY> wins over the file.

    Raises ConfigError with every fault found.
    """
    named = path or environ.get("KISSA_CONFIG")
    # Not resolved: a linked config.ini belongs to the folder in which it is linked.
    file = Path(os.path.abspath(named or Path(__file__).with_name("config.ini")))
    faults: list[str] = []
    given = _read_file(file, bool(named), faults) | _read_environ(environ, faults)
    values: dict[str, dict[str, Any]] = {section: {} for section in KEYS}
    sources: dict[str, str] = {}
    for section, keys in KEYS.items():
        for name, key in keys.items():
            source, text = given.get((section, name), ("default", key.default))
            sources[f"{section}.{name}"] = source
            try:
                if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
                    raise ValueError
                values[section][name] = key.read(text, file.parent)
            except (ValueError, OSError, RuntimeError):  # the last two: symbolic links in a ring
                faults.append(_fault(source, section, name, text, f"expected {key.expected}"))
    for section, name, expected in _contradictions(values):
        source, text = given.get((section, name), ("default", KEYS[section][name].default))
        faults.append(_fault(source, section, name, text, f"expected {expected}"))
    if faults:
        raise ConfigError(faults)
    site = values["site"]
    site["upload_url"] = site["upload_url"] or site["url"] + "f/"
    sections = {section: kind(**values[section]) for section, kind in SECTIONS.items()}
    return Config(**sections, folder=file.parent, sources=sources)


def writable_faults(config: Config) -> list[str]:
    """Try to write where the server must: for its start, since it makes the storage directory.

    Returns one line for each fault. A full disk is none: the server runs and answers 507.
    """
    faults = []
    directory, database = config.storage.directory, config.database.path
    url, state = config.database.url, str(config.database.state)
    for section, name, value, folder in (
        ("storage", "directory", str(directory), directory),
        (
            "database",
            *(("url", url) if config.database.is_file else ("state", state)),
            database.parent,
        ),
    ):
        try:
            if section == "storage":  # a missing database folder is rather a typing error
                folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
            # Only asked: opening and closing an SQLite file would drop this process's locks on it.
            if section == "database" and database.exists() and not os.access(database, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                source = config.sources.get(f"{section}.{name}", "default")
                told = f"expected to be able to write in {folder} ({error.strerror})"
                faults.append(_one_line(_fault(source, section, name, value, told)))
    return faults


def _read_file(file: Path, required: bool, faults: list[str]) -> _Given:
    # configparser stops at its first fault, and ignores what follows a section's bracket.
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        faults.append(f"{file}: line {number}: not UTF-8, expected a file in UTF-8")
        return {}
    except OSError as error:
        if required or not isinstance(error, FileNotFoundError):
            faults.append(f"{file}: expected a readable file ({error.strerror})")
        return {}
    given: _Given = {}
    sections = []
    for number, line in enumerate((line.strip() for line in lines), 1):
        key, equals, text = (part.strip() for part in line.partition("="))
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            section = line[1:-1].strip()
            if section not in KEYS:
                told = f"unknown section, expected one of {', '.join(KEYS)}"
                faults.append(f"{file}: [{section}]: {told}")
            elif section in sections:
                faults.append(f"{file}: [{section}]: there again in line {number}, expected once")
            sections.append(section)
        elif not key or not equals or not sections:
            # The line itself is not shown: it may hold the admin key.
            told = "expected a [section], below it key = value, or a # comment"
            faults.append(f"{file}: line {number}: {told}")
        elif (section := sections[-1]) not in KEYS:
            continue
        elif key not in KEYS[section]:
            faults.append(_unknown_key(str(file), section, key, text))
        elif (section, key) in given:
            told = f"there again in line {number}, expected once"
            faults.append(_fault(str(file), section, key, text, told))
        else:
            given[section, key] = (str(file), text)
    return given


def _read_environ(environ: Mapping[str, str], faults: list[str]) -> _Given:
    known = {f"KISSA_{s}_{key}".upper(): (s, key) for s, keys in KEYS.items() for key in keys}
    given: _Given = {}
    for variable, text in sorted(environ.items()):
        if variable in known:
            given[known[variable]] = (variable, text.strip())
            continue
        for section in KEYS:
            prefix = f"KISSA_{section.upper()}_"
            if variable.startswith(prefix):
                key = variable.removeprefix(prefix).lower()
                faults.append(_unknown_key(variable, section, key, text))
    return given


def _contradictions(values: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Give section, key and what was expected; keys that are faulty themselves are left out."""
    server, accounts = values["server"], values["accounts"]
    if server.get("bind", "").startswith("unix:") and server.get("proxy_hops") == 0:
        yield "server", "bind", "proxy_hops of 1 or more, else all clients share one address"
    if accounts.get("invite_only") and accounts.get("registration") is False:
        yield "accounts", "invite_only", "registration to be on"
    if accounts.get("admin_registration") and len(accounts.get("admin_key", " " * 16)) < 16:
        yield "accounts", "admin_registration", "an admin_key of 16 characters or more"
    wish, most = (values["uploads"].get(f"{which}_expiry") for which in ("default", "max"))
    if wish and most and wish > most:
        yield "uploads", "default_expiry", "no later end than max_expiry"
    yield from _s3_contradictions(values)
    folder, url = values["storage"].get("directory"), values["database"].get("url", "")
    state = values["database"].get("state")
    path = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:") else state
    if folder and path and path.is_relative_to(folder):
        yield "storage", "directory", "a folder without the database, since its files are public"


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    return re.sub("(?s)//.*@", "//(hidden)@", url)


def _s3_contradictions(values: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    storage, site = values["storage"], values["site"]
    if storage.get("backend") != "s3":
        return
    for name in ("endpoint", "bucket"):
        if storage.get(name) == "":
            yield "storage", "backend", f"{name} to be set"
    keys = [name for name in ("access_key", "secret_key") if storage.get(name)]
    if len(keys) == 1:
        yield "storage", keys[0], "access_key and secret_key both, or neither"
    # An uploaded page that a bucket serves under the site's own name could act as the site.
    own = {urlsplit(site[name]).hostname for name in ("url", "upload_url") if site.get(name)}
    if urlsplit(storage.get("public_url", "")).hostname in own:
        yield "storage", "public_url", "another host than the site's, since its files have no CSP"
    if values["uploads"].get("max_size_mb", 0) > _MOST_BY_S3:
        yield (
            "uploads",
            "max_size_mb",
            f"at most {_MOST_BY_S3}: S3 takes 10,000 parts, ours of 8 MB",
        )


def _unknown_key(source: str, section: str, key: str, text: str) -> str:
    told = f"unknown key, expected {', '.join(KEYS[section])}"
    return _fault(source, section, key, text, told)


def _fault(source: str, section: str, key: str, text: str, told: str) -> str:
    known = KEYS.get(section, {}).get(key)
    # A misspelt admin_key is as secret as a correct one.
    if known.secret if known else section == "accounts" or "key" in key.lower():
        shown = "(hidden)"
    else:
        shown = f"'{without_password(text)[:200]}'"
    return f"{source}: [{section}] {key} = {shown}: {told}"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
