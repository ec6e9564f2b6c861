"""Moving a host to another database, to another place for its files, or both; and back again."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import config as configuration
import credentials
import home
import lock
import models
import move_files
import move_rows
from config import Config
from errors import Unavailable
from models import Engine, Home, Resumable
from move_files import Copied, Progress
from move_rows import Summary
from storage import Storage
from storage_opening import open_storage

_AGAIN = 10.0  # seconds; what took longer is done once more before anybody has to wait for it
_ROUNDS = 5


class MoveError(Exception):
    """A move cannot be made; `faults` holds one line for each reason."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


@dataclass(slots=True, kw_only=True)
class Moved:
    """What a move did.

    Args:
        files: what became of the files while the host could only be read; None when they stay.
        tables: the rows; empty when they stay.
        secret: where the server's secret was copied to; empty when it was there.
        restarting: uploads in pieces that have to begin anew.
        since: from when on the host can only be read.
        until: when the move was over.
        was_over: whether an earlier call had done it all.
    """

    files: Copied | None = None
    tables: list[Summary] = field(default_factory=list)
    secret: str = ""
    restarting: int = 0
    since: datetime
    until: datetime
    was_over: bool = False


def find_elsewhere(backend: str) -> str | None:
    """Why nothing can be written here, as a line for the operator; None when it can.

    Args:
        backend: where this process keeps files.
    """
    row = models.find_home()
    if row is None or models.is_open():
        return None
    when = row.since.strftime("%Y-%m-%d %H:%M:%S UTC")
    undo = "or take that back with: flask move --undo"
    if row.state == home.MOVING:
        told = "run the same flask move again to end that,"
        return f"this host can only be read since {when}, being moved: {told} {undo}"
    if row.state == home.LEFT:
        told = f"set [database] url and [storage] backend = {row.storage} accordingly,"
        return f"this host has moved to {row.database} at {when}: {told} {undo}"
    if row.state == home.ARRIVING:
        told = "run the same flask move again, from there"
        return f"this host is arriving here from {row.database}, and not whole yet: {told}"
    told = f"set [storage] backend = {row.storage},"
    return f"the files of this host have moved at {when}, not to {backend}: {told} {undo}"


def undo(config: Config) -> bool:
    """Let the database and the files of the configuration in force be the right ones again,
    whether a move was cut short or is over. False when there was nothing to undo.

    Raises:
        MoveError: they are no copy of anything whole.
    """
    row = models.find_home()
    if row is None or models.is_open():
        return False
    if row.state == home.ARRIVING and models.User.select().exists():
        raise MoveError([str(find_elsewhere(config.storage.backend))])
    with _turn():
        _stay(config)
    return True


def move(
    config: Config,
    store: Storage,
    new: Config,
    *,
    progress: Progress = lambda done: None,
    tell: Callable[[Copied], None] = lambda copied: None,
    verify: bool = False,
) -> Moved:
    """Move the open database and the files to where another configuration has them. Files are
    copied beside the running server; for the rest, the host can only be read: from then on until
    a server runs on the new configuration, since what was stored meanwhile would be lost.

    Cut short before that, it has changed nothing. Cut short after it, it is gone on with by the
    same call, or taken back by `undo`. Whatever else goes wrong takes it back.

    Args:
        new: the configuration in force, but for database and backend.
        progress: told of what has been copied.
        tell: told of each round of copying when it is over.
        verify: whether files that are there already are read as well.

    Raises:
        MoveError: it cannot be made.
        OSError, peewee.PeeweeException, errors.ServiceError: source or target failed.
    """
    with_rows = config.database.url != new.database.url
    with_files = config.storage.backend != new.storage.backend
    if not with_rows and not with_files:
        raise MoveError(["there is nothing to move: everything is there already"])
    with _turn(), ExitStack() as stack:
        row = _require_here(config, new)
        engine = stack.enter_context(_opened(new)) if with_rows else None
        if row is not None and row.state == home.LEFT:
            return _end_again(row, engine, new, with_files)
        if engine is not None:
            _require_secret(config, new)
            _require_target(engine, config, new)
        target = stack.enter_context(_stored(new)) if with_files else None
        if target is not None:
            for number in range(1, _ROUNDS + 1):
                copied = _told(move_files.copy, store, target, progress, verify=verify)
                tell(copied)
                verify = False
                if copied.seconds < _AGAIN or number == _ROUNDS:
                    break
        moved = Moved(since=models.now(), until=models.now())
        if engine is not None:
            moved.secret = _copy_secret(config, new)
        _begin(row, new, with_rows)
        try:
            if target is not None:
                moved.files = _told(move_files.finish, store, target, progress)
                moved.restarting = _count_unfinished()
            if engine is not None:
                moved.tables = _copy_rows(config, engine, new)
        except BaseException as error:
            _take_back(config, error)
            raise
        _end(engine, new, with_files)
        moved.until = models.now()
        return moved


@contextmanager
def _turn() -> Iterator[None]:
    with models.turn("move") as is_ours:
        if not is_ours:
            raise MoveError(["another flask move is at work on this host"])
        yield


def _require_here(config: Config, new: Config) -> Home | None:
    """What the open database says, from where a move may begin or go on."""
    row = models.find_home()
    if row is None or models.is_open() or row.state == home.MOVING:
        return row
    if row.state == home.LEFT and row.database == shown(new):
        return row
    raise MoveError([str(find_elsewhere(config.storage.backend))])


@contextmanager
def _opened(new: Config) -> Iterator[Engine]:
    """The database to move to, with this Kissa's schema, and nobody serving it."""
    faults = configuration.writable_faults(new)
    if faults:
        raise MoveError(faults)
    with ExitStack() as stack:
        if new.database.is_file:
            try:
                stack.callback(os.close, lock.take(new.database.path))
            except lock.LockTaken:
                raise MoveError([f"{new.database.path}: a server is at work on it"]) from None
        engine = models.engine_of(
            new.database.url, durable=new.storage.durable, before_commit=lambda: None, backend=""
        )
        stack.callback(engine.close)
        stack.callback(engine.disconnect)
        engine.connect()
        yield engine


def _require_target(engine: Engine, config: Config, new: Config) -> None:
    try:
        move_rows.require_empty(engine)
    except move_rows.NotEmpty:
        told = "it is in use; name an empty database"
        raise MoveError([f"{shown(new)}: {told}"]) from None
    models.migrate(engine)
    # From now on nobody begins to use it.
    move_rows.write_home(engine, _arriving(config, new))


def _arriving(config: Config, new: Config) -> dict[str, Any]:
    return _row(home.ARRIVING, new.storage.backend, shown(config))


@contextmanager
def _stored(new: Config) -> Iterator[Storage]:
    """The place to move the files to: empty, or with what an earlier move brought or left."""
    target = open_storage(new)
    try:
        target.check()
        move_files.require_ours(target)
        yield target
    except Unavailable as error:
        raise MoveError([error.message]) from error
    except move_files.TargetInUse as error:
        told = "empty it, or name another place"
        raise MoveError([f"[storage] backend = {new.storage.backend}: {error}; {told}"]) from None
    finally:
        target.close()


def _told(copy: Callable[..., Copied], *args: Any, **more: Any) -> Copied:
    try:
        return copy(*args, **more)
    except move_files.FilesLost as error:
        raise MoveError([str(error)]) from None


def _require_secret(config: Config, new: Config) -> bool:
    """Whether the secret is there already."""
    source, target = (credentials.secret_path(one.database.path) for one in (config, new))
    if not target.exists():
        return False
    if credentials.load_secret(target) != credentials.load_secret(source):
        told = "another secret than this host's; move it away first"
        raise MoveError([f"{target}: {told}"])
    return True


def _copy_secret(config: Config, new: Config) -> str:
    """Tokens and links follow from the secret: it comes along. Returns where to."""
    if _require_secret(config, new):
        return ""
    source, target = (credentials.secret_path(one.database.path) for one in (config, new))
    credentials.keep_secret(target, credentials.load_secret(source))
    return str(target)


def _begin(row: Home | None, new: Config, with_rows: bool) -> None:
    """From now on the host can only be read: every write that began before is over."""
    set_home = _row(home.MOVING, new.storage.backend, shown(new) if with_rows else "")
    is_begun = row is not None and row.state == home.MOVING
    (models.write_home if is_begun else models.write)(lambda: _set(set_home))


def _copy_rows(config: Config, engine: Engine, new: Config) -> list[Summary]:
    try:
        tables = move_rows.copy(engine)
        move_rows.require_same(engine, tables)
    except move_rows.NotEmpty:
        raise MoveError([f"{shown(new)}: it came into use meanwhile"]) from None
    except move_rows.Differs as error:
        raise MoveError([f"{shown(new)}: other rows were read than written: {error}"]) from None
    return tables


def _end(engine: Engine | None, new: Config, with_files: bool) -> None:
    """This database first: at no moment can both be written to."""
    if engine is None:
        arrived = _row(home.HERE, new.storage.backend)

        def arrive() -> None:
            # The bytes of uploads in pieces stay behind when files move.
            Resumable.delete().where(Resumable.item.is_null()).execute()
            _set(arrived)

        models.write_home(arrive)
        return
    left = _row(home.LEFT, new.storage.backend, shown(new))
    models.write_home(lambda: _set(left))
    _open_up(engine, new, with_files)


def _open_up(engine: Engine, new: Config, with_files: bool) -> None:
    """Let the other database be the one."""
    arrived = _row(home.HERE, new.storage.backend)
    move_rows.write_home(engine, arrived, without_unfinished=with_files)
    engine.checkpoint()


def _end_again(row: Home, engine: Engine | None, new: Config, with_files: bool) -> Moved:
    """Once the rows have left, only the last step of a move can be lacking."""
    if row.storage != new.storage.backend or engine is None:
        raise MoveError([str(find_elsewhere(row.storage))])
    if move_rows.find_state(engine) == home.ARRIVING:
        _open_up(engine, new, with_files)
    return Moved(since=row.since, until=models.now(), was_over=True)


def _stay(config: Config) -> None:
    stays = _row(home.HERE, config.storage.backend)
    models.write_home(lambda: _set(stays))


def _take_back(config: Config, error: BaseException) -> None:
    try:
        _stay(config)
    except Exception as second:
        told = f"the host can still only be read ({second}); run: flask move --undo"
        raise MoveError([str(error) or type(error).__name__, told]) from second


def _row(state: str, storage: str, database: str = "") -> dict[str, Any]:
    values = {"state": state, "database": database[:500], "storage": storage}
    return {"number": 1, "since": models.now()} | values


def _set(row: dict[str, Any]) -> None:
    Home.delete().execute()
    Home.insert(row).execute()


def _count_unfinished() -> int:
    unfinished = (Resumable.item.is_null(), Resumable.expires > models.now())
    return int(Resumable.select().where(*unfinished).count())


def shown(config: Config) -> str:
    """Where a configuration has its database, without a password."""
    return configuration.without_password(config.database.url)
