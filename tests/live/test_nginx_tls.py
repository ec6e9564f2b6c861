"""TLS and HTTP/2 by the prepared lines, large uploads, and the steps that docs/nginx.md gives."""

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PNG, Person
from tests.live.conftest import ROOT
from tests.live.nginx import FILES, NGINX, SITE, Nginx, running

pytestmark = pytest.mark.live
LARGE = 50 * 1024 * 1024


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    for command in ("openssl", "curl"):
        if shutil.which(command) is None:
            pytest.skip(f"no {command}: make test-packages installs it")
    with running(tls=True, two_hosts=True) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def alice(nginx: Nginx) -> Person:
    return nginx.server.person("alice")


def curl(nginx: Nginx, *words: str, host: str = SITE) -> tuple[str, bytes]:
    """HTTP version and status, as `2 200`, and the body; the last word is the path."""
    body = nginx.folder / "answer"
    body.unlink(missing_ok=True)
    done = subprocess.run(
        [
            *("curl", "-q", "-sS", "--noproxy", "*", "--http2", "-o", str(body)),
            *(
                "--cacert",
                str(nginx.folder / "fullchain.pem"),
                "-w",
                "%{http_version} %{http_code}",
            ),
            *("--resolve", f"{host}:{nginx.tls_port}:127.0.0.1"),
            *words[:-1],
            f"https://{host}:{nginx.tls_port}{words[-1]}",
        ],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(), body.read_bytes() if body.exists() else b""


def test_http2_upload_and_ranges(nginx: Nginx, alice: Person) -> None:
    content = os.urandom(LARGE)
    file = nginx.folder / "large.bin"
    file.write_bytes(content)
    headers = ("-H", f"token: {alice.token}", "-H", "Accept: text/plain")
    begun = time.monotonic()
    status, url = curl(nginx, *headers, "-F", f"uploadFile=@{file}", "/api/files/upload")
    sent = time.monotonic() - begun
    assert status == "2 200"
    name = url.decode().strip().rpartition("/")[2]
    begun = time.monotonic()
    status, body = curl(nginx, f"/{name}", host=FILES)
    taken = time.monotonic() - begun
    assert (status, hashlib.sha256(body).digest()) == ("2 200", hashlib.sha256(content).digest())
    for start, end in ((0, 0), (LARGE - 10, LARGE - 1), (20_000_000, 30_000_000)):
        status, body = curl(nginx, "-r", f"{start}-{end}", f"/{name}", host=FILES)
        assert (status, body) == ("2 206", content[start : end + 1])
        status, body = curl(nginx, "-r", f"{start}-{end}", f"/d/{name}")
        assert (status, body) == ("2 206", content[start : end + 1])
    assert curl(nginx, "-r", f"{LARGE}-", f"/{name}", host=FILES)[0] == "2 416"
    print(f"50 MB by HTTP/2: upload {sent:.2f} s, download {taken:.2f} s")


def test_headers_and_refusals_over_http2(nginx: Nginx, alice: Person) -> None:
    name = nginx.server.upload(alice, PNG)
    head = nginx.folder / "head"
    for path, host, status in (
        (f"/{name}", FILES, "2 200"),
        ("/zzzzzzz.png", FILES, "2 404"),
        ("/api/info", SITE, "2 200"),
        ("/metrics", SITE, "2 404"),
    ):
        assert curl(nginx, "-D", str(head), path, host=host)[0] == status
        told = head.read_text().lower()
        for line in ("strict-transport-security: max-age=", "x-content-type-options: nosniff"):
            assert told.count(line) == 1, told
        assert told.count("content-security-policy: ") == 1
    (nginx.folder / "large.bin").write_bytes(b"\xff" * 5 * 1024 * 1024)
    early = ("-H", "token: nobody", "-F", f"uploadFile=@{nginx.folder / 'large.bin'}")
    seen = [curl(nginx, *early, "/api/files/upload")[0] for _ in range(5)]
    assert seen == ["2 401"] * 5
    assert curl(nginx, "-X", "POST", f"/{name}", host=FILES)[0] == "2 405"


def test_plain_http_is_sent_to_tls(nginx: Nginx) -> None:
    for host in (SITE, FILES):
        answer = nginx.ask("/api/info?a=b", host=host)
        assert answer.status == 308
        assert answer.headers["location"] == f"https://{host}/api/info?a=b"
        assert "strict-transport-security" not in answer.headers


def test_old_tls_is_refused(nginx: Nginx) -> None:
    address = f"127.0.0.1:{nginx.tls_port}"
    for version, works in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
        done = subprocess.run(
            ["openssl", "s_client", "-connect", address, version, "-servername", SITE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=20,
        )
        assert (done.returncode == 0) is works, version


# docs/nginx.md


def test_the_steps_of_the_docs_give_a_good_file(tmp_path: Path) -> None:
    """Each `sed` line, as written but for the place of the file, and nginx's own check after it."""
    if NGINX is None:
        pytest.skip("no nginx: make test-packages installs it")
    steps = re.findall(r"^sudo (sed -i .*)$", (ROOT / "docs/nginx.md").read_text(), re.MULTILINE)
    assert len(steps) == 4
    site = tmp_path / "site"
    shutil.copy(ROOT / "deploy/nginx.conf", site)
    for step in steps:
        before = site.read_text()
        assert "/etc/nginx/sites-available/kissa" in step
        command = step.replace("/etc/nginx/sites-available/kissa", str(site))
        subprocess.run(["sh", "-euc", command], check=True)
        assert site.read_text() != before, step
        names = ("example.org", "kissa.", "files.")
        text = re.sub(r"#.*", "", site.read_text())
        assert not any(f"{name}example" in text for name in names[1:]), step
        certificate = "/etc/letsencrypt/live/"
        text = re.sub(r"ssl_certificate.*", "", text).replace(" ssl http2;", ";")
        assert certificate not in text
        for old, new in {
            "/var/log/nginx/": f"{tmp_path}/",
            "/var/cache/nginx/": f"{tmp_path}/",
            "/etc/nginx/kissa-s3.conf": str(ROOT / "deploy/nginx-s3.conf"),
            "server s3.your.site:": "server 127.0.0.1:",  # nginx looks names up when it starts
        }.items():
            text = text.replace(old, new)
        main = (
            f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\nhttp {{ {text} }}\n"
        )
        (tmp_path / "nginx.conf").write_text(main)
        checked = subprocess.run(
            [NGINX, "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, (step, checked.stderr)
        assert "[warn]" not in checked.stderr, (step, checked.stderr)
    assert site.read_text().count("server_name ") == 1  # one host name at the end
    assert "include /etc/nginx/kissa-s3.conf;" in site.read_text()
    assert 'map "" $kissa_s3_host { default s3.your.site; }' in site.read_text()
