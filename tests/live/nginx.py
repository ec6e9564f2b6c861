"""A real nginx with deploy/nginx.conf, in front of a real gunicorn on a unix socket."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ADMIN_KEY
from tests.live.conftest import PATIENCE, ROOT, Server, free_port, until
from tests.live.wire import Answer, Wire
from tests.servers.s3 import Bucket

# nginx and its like live where a user's PATH does not look.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
SITE, FILES = "kissa.example.org", "files.example.org"

# What Debian's nginx.conf says around the sites, with folders of the test's own.
MAIN = """
{user}
pid {folder}/nginx.pid;
error_log {folder}/main-error.log;
worker_processes 2;
events {{ worker_connections 768; }}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    ssl_prefer_server_ciphers on;
    access_log {folder}/main-access.log;
    gzip on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class Nginx:
    """nginx and, behind it, a server.

    Args:
        folder: everything lies here; nginx's workers can enter it.
        two_hosts: whether the files have a host name of their own.
        tls: whether the lines for TLS are in force.
        s3: where the files are, when not in a folder.
        read_timeout: seconds that nginx waits for gunicorn; None is the file's own.
        keys: Kissa's configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        two_hosts: bool = False,
        tls: bool = False,
        s3: Bucket | None = None,
        read_timeout: int | None = None,
        **keys: object,
    ) -> None:
        if NGINX is None:
            pytest.skip("no nginx: make test-packages installs it")
        self.folder, self.two_hosts, self.tls, self.s3 = folder, two_hosts, tls, s3
        self.process: subprocess.Popen[bytes] | None = None
        self.run = folder / "run"
        self.run.mkdir(mode=0o755)
        self.socket = self.run / "kissa.sock"
        (folder / "kissa").mkdir()
        self.tls_port = free_port()
        upload_url = f"http://{FILES}/" if two_hosts else f"http://{SITE}/f/"
        defaults: dict[str, object] = {
            "site_url": f"http://{SITE}/",
            "site_upload_url": upload_url,
            "server_bind": f"unix:{self.socket}",
            "server_proxy_hops": 1,
            "accounts_admin_registration": "true",
            "accounts_admin_key": ADMIN_KEY,
        }
        if s3 is not None:
            defaults |= s3.configuration()
        self.server = Server(folder / "kissa", **(defaults | keys))
        self.port = self.server.port  # nginx listens where the server would
        self.site_log = folder / "kissa.log"
        self.error_log = folder / "kissa-error.log"
        self._configure(read_timeout)
        if tls:
            self._make_certificate()

    def _configure(self, read_timeout: int | None) -> None:
        text = (ROOT / "deploy/nginx.conf").read_text()
        certificates = f"/etc/letsencrypt/live/{SITE}/"
        for old, new in {
            "/var/lib/kissa/uploads": str(self.server.uploads),
            "/run/kissa/kissa.sock": str(self.socket),
            "/var/log/nginx/": f"{self.folder}/",
            "    listen [::]:80;\n": "",
            "#tls    listen [::]:443 ssl http2;\n": "",
            "listen 80;": f"listen 127.0.0.1:{self.port};",
            "listen 443 ": f"listen 127.0.0.1:{self.tls_port} ",
            certificates: f"{self.folder}/",
            "proxy_read_timeout 120s": f"proxy_read_timeout {read_timeout or 120}s",
        }.items():
            assert old in text, old
            text = text.replace(old, new)
        if self.tls:
            text = text.replace("#tls", "")
        if not self.two_hosts:
            lines = text.splitlines(keepends=True)
            text = "".join("#" + one if one.endswith("# two hosts\n") else one for one in lines)
        if self.s3 is not None:
            text = self._with_s3(text, self.s3.endpoint.removeprefix("http://"))
        (self.folder / "site.conf").write_text(text)
        user = "user www-data;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(MAIN.format(folder=self.folder, user=user))

    def _with_s3(self, text: str, host: str) -> str:
        """The lines of docs/nginx.md, with an endpoint of http, and what came from where logged."""
        for old, new in {
            "#s3": "",
            str(self.server.uploads): "/nonexistent",
            "server s3.example.org:443;": f"server {host};",
            "default s3.example.org;": f"default {host};",
            "/var/cache/nginx/kissa ": f"{self.folder}/cache ",
            "/etc/nginx/kissa-s3.conf": f"{self.folder}/kissa-s3.conf",
            "${request_time}s'": "${request_time}s $upstream_cache_status'",
        }.items():
            assert old in text, old
            text = text.replace(old, new)
        location = (ROOT / "deploy/nginx-s3.conf").read_text()
        assert "https://kissa_s3/" in location
        location = location.replace("https://kissa_s3/", "http://kissa_s3/")
        (self.folder / "kissa-s3.conf").write_text(location)
        return text

    def _make_certificate(self) -> None:
        names = f"subjectAltName=DNS:{SITE},DNS:{FILES},IP:127.0.0.1"
        made: list[str | Path] = [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={SITE}", "-addext", names),
            *("-keyout", self.folder / "privkey.pem", "-out", self.folder / "fullchain.pem"),
        ]
        subprocess.run(made, check=True, capture_output=True)
        self.server.url = f"https://127.0.0.1:{self.tls_port}"
        self.server.session.verify = str(self.folder / "fullchain.pem")

    def start(self) -> "Nginx":
        """Run both, the server migrated."""
        self.start_nginx()
        self.server.migrate()
        self.server.session.headers["Host"] = SITE
        self.start_gunicorn()
        if self.s3 is None:
            self.server.uploads.chmod(0o711)  # as the docs have it
        return self

    def start_gunicorn(self) -> None:
        process = self.server.spawn()

        def ready() -> bool:
            assert process.poll() is None, self.server.log
            try:
                return self.ask("/healthz", past=True).status == 200
            except OSError:  # no socket yet, or nobody listens on it yet
                return False

        until(ready, "gunicorn answers")

    def start_nginx(self) -> None:
        assert NGINX is not None
        command = [NGINX, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "[warn]" not in checked.stderr, checked.stderr
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            [*command, "-g", "daemon off;"], stdin=quiet, stdout=quiet, stderr=quiet
        )
        until(self._listens, "nginx listens")

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "main-error.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def end_nginx(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None

    def end(self) -> None:
        """Leave nothing of both running."""
        self.end_nginx()
        self.server.end()
        self.server.session.close()

    # Asking

    def wire(self) -> Wire:
        """A connection to nginx."""
        return self.server.wire()

    def direct(self) -> Wire:
        """A connection to gunicorn, past nginx."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(self.socket))
        except OSError:
            connection.close()
            raise
        return Wire(connection)

    def ask(
        self,
        path: str,
        headers: dict[str, str] | None = None,
        *,
        method: str = "GET",
        host: str = SITE,
        past: bool = False,
    ) -> Answer:
        """One answer from nginx, or with `past` from gunicorn itself."""
        given = {"Host": host, "Connection": "close"} | (headers or {})
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {given[name]}" for name in given)]
        with self.direct() if past else self.wire() as wire:
            wire.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
            return wire.answer(has_body=method != "HEAD")

    def file(self, name: str, headers: dict[str, str] | None = None, **more: str) -> Answer:
        """A public file as this layout serves it."""
        if self.two_hosts:
            return self.ask(f"/{name}", headers, host=FILES, **more)  # type: ignore[arg-type]
        return self.ask(f"/f/{name}", headers, **more)  # type: ignore[arg-type]


@contextmanager
def running(**keys: object) -> Iterator[Nginx]:
    """A started Nginx in a folder that other users can enter, as below /var/lib."""
    with tempfile.TemporaryDirectory(prefix="kissa-nginx-") as path:
        folder = Path(path)
        folder.chmod(0o711)
        nginx = Nginx(folder, **keys)  # type: ignore[arg-type]
        try:
            yield nginx.start()
        finally:
            nginx.end()
        nginx.server.require_quiet()
