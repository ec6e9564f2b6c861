"""nginx in three parts: in front of Kissa, taking uploads by itself, and answering nothing."""

import os
from pathlib import Path

from bench.servers import NGINX, ROOT, Kissa, Server, Way, free_port

SITE = "kissa.example.org"

# What Debian's nginx.conf says around the sites, with folders of the run's own.
MAIN = """
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
worker_processes auto;
events {{ worker_connections 768; }}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log off;
    gzip on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""

PUT_SITE = """
server {{
    listen 127.0.0.1:{port};
    root {files};
    client_max_body_size 0;
    dav_methods PUT;
}}
"""

NOTHING_SITE = """
server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    location / {{ return 204; }}
}}
"""


def _command(folder: Path, site: str) -> list[str]:
    """Write the configuration, and give the command that runs nginx with it."""
    assert NGINX is not None, "there is no nginx"
    user = "user root;" if os.geteuid() == 0 else ""  # the folder is the run's own
    folder = folder / "nginx"  # what it buffers has a part of the disk of its own
    folder.mkdir(exist_ok=True)
    (folder / "site.conf").write_text(site, encoding="utf-8")
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user), encoding="utf-8")
    return [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]


class Put(Server):
    """nginx alone, taking files by WebDAV's PUT: what the machine could do at most."""

    site = PUT_SITE
    longest = 1  # its uploads would fill a small disk

    def commands(self) -> list[list[str]]:
        return [_command(self.folder, self.site.format(port=self.port, files=self.files))]

    @property
    def way(self) -> Way:
        return Way(url=f"{self.url}/", method="PUT")


class Nothing(Put):
    """nginx reading an upload and answering 204: what the load generator could do at most."""

    site = NOTHING_SITE

    @property
    def way(self) -> Way:
        return Way(url=f"{self.url}/", field="file")


class Front(Kissa):
    """Kissa behind nginx with the project's own deploy/nginx.conf, files below /f/.

    Args:
        direct: whether Kissa itself can be asked as well, at `direct_port`; it listens on a port
            then, and else on a socket as the documentation has it.
        durable: [storage] durable.
    """

    def __init__(
        self, name: str, folder: Path, *, durable: bool = True, direct: bool = False
    ) -> None:
        self.direct_port = free_port()
        self.direct = direct
        super().__init__(name, folder, durable=durable, hops=1)

    def _configure(self, durable: bool, hops: int) -> None:
        port = f"127.0.0.1:{self.direct_port}"
        self.bind = port if self.direct else f"unix:{self.folder}/kissa.sock"
        super()._configure(durable, hops)

    def commands(self) -> list[list[str]]:
        return [*super().commands(), _command(self.folder, self._site())]

    def _site(self) -> str:
        text = (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8")
        for old, new in {
            "/var/lib/kissa/uploads": str(self.files),
            "unix:/run/kissa/kissa.sock": self.bind,
            "/var/log/nginx/": f"{self.folder}/",
            "    listen [::]:80;\n": "",
            "listen 80;": f"listen 127.0.0.1:{self.port};",
            "client_max_body_size 101m": "client_max_body_size 2049m",
        }.items():
            assert old in text, f"deploy/nginx.conf has no longer: {old}"
            text = text.replace(old, new)
        lines = text.splitlines(keepends=True)
        return "".join("#" + one if one.endswith("# two hosts\n") else one for one in lines)
