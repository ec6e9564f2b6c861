"""Several Kissa servers as hosts of their own: nothing is shared but PostgreSQL, a bucket and the
server secret, and nginx spreads the requests over them."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import models
from tests.live.conftest import PATIENCE, ROOT, Server, free_port, until
from tests.live.nginx import NGINX
from tests.postgres import Cluster
from tests.servers.s3 import S3Server

_NGINX = """
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 768; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{upstream}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 101m;
        location / {{
            proxy_pass http://kissa;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_read_timeout 60s;
        }}
    }}
}}
"""


class Host(Server):
    """A server on a loopback address of its own, with its own folder for secret, locks and log."""

    def __init__(self, folder: Path, number: int, **keys: object) -> None:
        folder.mkdir(mode=0o755)
        super().__init__(folder, **keys)
        self.number = number


class Hosts:
    """The hosts, and nginx before them.

    Args:
        folder: everything lies here; nginx's workers can enter it.
        count: of hosts.
    """

    def __init__(self, folder: Path, database: Cluster, s3: S3Server, count: int = 3) -> None:
        if NGINX is None:
            pytest.skip("no nginx: make test-packages installs it")
        self.folder, self.database, self.s3 = folder, database, s3
        self.port = free_port()
        keys: dict[str, object] = {
            "site_url": f"http://127.0.0.1:{self.port}/",
            "server_proxy_hops": 1,
            "database_url": database.create("hosts"),
            "uploads_per_minute": 0,
            **s3.bucket().configuration(),
        }
        self.hosts = [Host(folder / f"host{n}", n, **keys) for n in range(count)]
        self.nginx: subprocess.Popen[bytes] | None = None

    def start(self) -> "Hosts":
        first, *others = self.hosts
        assert first.flask("migrate").returncode == 0
        assert first.flask("create-admin", "admin", stdin="correct horse\n").returncode == 0
        for host in others:  # as docs/scaling.md has it: the same secret everywhere
            shutil.copy2(first.folder / "kissa.secret", host.folder / "kissa.secret")
        for host in self.hosts:
            host.start()
        self._start_nginx()
        return self

    def _start_nginx(self) -> None:
        assert NGINX is not None
        # The documented lines, with our addresses.
        documented = (ROOT / "docs/scaling.md").read_text()
        found = re.search(r"^    (upstream kissa \{.*?^    \})$", documented, re.M | re.S)
        assert found is not None
        upstream, port = found[1], iter(host.port for host in self.hosts)
        upstream = re.sub(r"host\d\.internal:8080", lambda _: f"127.0.0.1:{next(port)}", upstream)
        user = "user www-data;" if os.geteuid() == 0 else ""
        text = _NGINX.format(folder=self.folder, user=user, port=self.port, upstream=upstream)
        (self.folder / "nginx.conf").write_text(text)
        command = [NGINX, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        self.nginx = subprocess.Popen([*command, "-g", "daemon off;"], start_new_session=True)
        until(lambda: (self.folder / "nginx.pid").exists(), "nginx runs")

    def end(self) -> None:
        """Leave nothing running."""
        if self.nginx is not None:
            self.nginx.send_signal(signal.SIGTERM)
            self.nginx.wait(PATIENCE)
        for host in self.hosts:
            host.end()
            host.session.close()
        models.close_database()
