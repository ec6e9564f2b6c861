"""gunicorn's settings, from the section [server] of Kissa's configuration; see `make serve`."""

import gc
import json
import logging
import os
import re
import select
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

sys.path.insert(0, str(Path(__file__).parent.parent))

# Neither Flask nor what needs it: this process only minds the workers, and stays small.
import config as configuration
import metrics
import start
import timer

_DELETION = re.compile(r"(/delete/[A-Za-z0-9.]+/)[^/]*")


def _exit(faults: Any) -> None:
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1)


try:
    _config = configuration.load()
except configuration.ConfigError as error:
    _exit(error.faults)


def _plain_path(uri: str | None) -> str:
    """The path as it was sent, percent-encoded (a decoded one could forge a line), without its
    query and without the secret of a deletion link, however that link is written."""
    path = (uri or "-").partition("?")[0]
    if "/delete/" not in unquote(path).lower():
        return path
    usual = _DELETION.fullmatch(path)
    return (usual[1] if usual else "/delete/") + "-"


class JsonFormatter(logging.Formatter):
    """A line that is no request's as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; a traceback is one string in it."""
        line = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


@lru_cache(2)
def _second(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _utc(moment: float) -> str:
    return _second(int(moment))


class RequestLog(Logger):
    """One line a request, in which no credential can stand: no query, no header, no address."""

    def setup(self, cfg: Any) -> None:
        """Open the logs, and give everybody else's lines the same place and form."""
        super().setup(cfg)
        if _config.server.log_format == "json":
            for handler in self.error_log.handlers:
                handler.setFormatter(JsonFormatter())
        logging.getLogger().handlers = self.error_log.handlers

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """Write the line of one answered request."""
        line = {
            "time": _utc(time.time()),
            "method": environ.get("REQUEST_METHOD", "-"),
            "path": _plain_path(environ.get("RAW_URI")),
            # gunicorn's answers to malformed requests have no status_code
            "status": int(str(resp.status or 0).split(None, 1)[0]),
            "bytes": resp.sent or resp.response_length or 0,
            "ms": round(request_time.total_seconds() * 1000, 1),
            "user": environ.get("kissa.user_id"),
        }
        if _config.server.log_format == "json":
            text = json.dumps(line)
        else:
            line["user"] = f"user={line['user'] or '-'}"
            line["ms"] = f"{line['ms']}ms"
            text = " ".join(map(str, line.values()))
        # Not through the logger, whose records take longer to make than the line itself.
        for handler in self.access_log.handlers:
            if isinstance(handler, logging.StreamHandler):
                with suppress(OSError):  # a full disk of the log fails no request
                    os.write(handler.stream.fileno(), f"{text}\n".encode())

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Of a malformed request the kind of fault alone: gunicorn quotes what was sent, which
        may be a token, as `Invalid request from ip=ADDRESS: FAULT: QUOTE`."""
        if str(msg).startswith("Invalid request from "):
            msg, args = "malformed request: %s", (str(msg).split(": ")[1],)
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Without the query, which gunicorn adds to the path; a client that stalls is no fault."""
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.debug("a client has stalled")
            return
        super().exception(msg, *(_plain_path(str(arg)) for arg in args), **kwargs)


_write_error = util.write_error


def _write_bare_error(sock: Any, status: int, reason: str, message: str) -> None:
    """The answer to a malformed request, without gunicorn's quote of it: that may be a token."""
    _write_error(sock, status, reason, "")


util.write_error = _write_bare_error


_PATIENCE = struct.pack("@ll", 30, 0)  # seconds and microseconds


def _has_next(conn: Any) -> bool:
    """Whether a connection's next request begins within two milliseconds."""
    if conn.parser.unreader.buf.getvalue():
        return True
    poll = select.poll()
    poll.register(conn.sock, select.POLLIN)
    return bool(poll.poll(2))


class Worker(ThreadWorker):
    """A worker that stops listening as soon as it has to stop. gunicorn's own keeps its socket
    until the last upload is through, and whoever connects meanwhile waits for nothing."""

    def handle(self, conn: Any) -> Any:
        """Serve a connection, and its next request too when that comes at once: the way back to
        the main thread and from there to another one costs a tenth of a small upload."""
        if not conn.initialized:
            # A client that sends nothing for so long has gone, and must not hold a thread for ever.
            # By the kernel: Python's own timeout is two more system calls at each read.
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        again = super().handle(conn)
        while again is True and self.alive and self.tpool._work_queue.empty() and _has_next(conn):
            again = super().handle(conn)
        return again

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """Whether the connection may go on. Of a body that was read to its end gunicorn would look
        for the rest all the same, with four system calls."""
        body = conn.parser.mesg.body
        if keepalive and not body.failed and getattr(body.reader, "length", None) == 0:
            return True
        return bool(super()._keepalive_after(conn, keepalive))

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop: at once, or once load balancers have had time to see that /healthz says so."""
        stop, app = super().handle_exit, getattr(self, "wsgi", None)  # not yet, at its start
        services = app.extensions.get("kissa") if app else None
        if not _config.server.drain_seconds or services is None or services.stopping.is_set():
            stop(sig, frame)
            return
        services.stopping.set()
        later = threading.Timer(_config.server.drain_seconds, stop, (sig, frame))
        later.daemon = True
        later.start()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections, or no more."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                # Who is connected already has perhaps sent an upload, which nobody sends again.
                before = -1
                while self.nr_conns != before:
                    before = self.nr_conns
                    self.accept(listener)
                listener.close()


bind = _config.server.bind
workers = _config.server.workers
threads = _config.server.threads
worker_class = Worker
control_socket_disable = True  # on by default since gunicorn 25.1, and nobody here speaks to it
# Seconds in which uploads in flight may finish at a stop.
graceful_timeout = 120 + _config.server.drain_seconds
timeout = 60
keepalive = 5
limit_request_line = 8190  # the f0ckm API's fields may come in the query
logger_class = RequestLog
accesslog = "-"

# Workers take different cores, and not every server of this machine begins with the same one.
_first_core = os.urandom(1)[0]
_started: start.Started | None = None
_timer: timer.Timer | None = None


def on_starting(server: Any) -> None:
    """Before anything listens: check everything, and finish what a crash cut short."""
    global _started
    try:
        _started = start.prepare(_config)
    except start.StartError as error:
        if _config.server.log_format == "json":
            for fault in error.faults:
                server.log.critical("%s", fault)
            sys.exit(1)
        _exit(error.faults)
    for note in _started.notes if _started else ():
        server.log.info("%s", note)


def when_ready(server: Any) -> None:
    """Listening, and no worker yet: let them count together. With very many files, sweep them now,
    beside the server."""
    metrics.share(_config.server.workers)
    if _started is not None and _started.sweep_later:
        start.sweep_beside()
    # What is shared with the workers stays shared: the collector would write to all of it.
    gc.freeze()


def post_fork(server: Any, worker: Any) -> None:
    """In each worker, before it loads the application: all of that stays, and to look for garbage
    in it takes a tenth of the start."""
    gc.disable()


def post_worker_init(worker: Any) -> None:
    """In each worker, after the fork: open database and files, look at the clock, take a core."""
    global _timer
    import context
    import cores
    import timer

    # gunicorn asks for some thirty settings at each request, by way of its tables of all settings:
    # as plain attributes they take 40 µs less.
    vars(worker.cfg).update({name: one.get() for name, one in worker.cfg.settings.items()})
    services = context.attach(worker.app.wsgi(), None)
    gc.freeze()
    gc.enable()
    _timer = timer.Timer(services.storage)
    _timer.start()
    cores.settle(_first_core + worker.age)


def worker_exit(server: Any, worker: Any) -> None:
    """In a worker that ends."""
    import models

    if _timer is not None:
        _timer.stop()
    models.checkpoint()


def child_exit(server: Any, worker: Any) -> None:
    """A worker has ended."""
    metrics.end_worker(worker.pid)


def on_exit(server: Any) -> None:
    """The last worker has ended."""
    metrics.end_sharing()
