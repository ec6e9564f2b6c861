"""deploy/healthcheck.py, which the container's health check runs, against a real server."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.live.conftest import ROOT, Server, until

pytestmark = pytest.mark.live


def check(server: Server) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "deploy/healthcheck.py"],
        cwd=ROOT,
        env=server.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_healthy_on_a_port_and_stopped(make_server: Callable[..., Server]) -> None:
    server = make_server()
    assert check(server).returncode == 0
    assert server.stop() == 0
    ran = check(server)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1


def test_healthy_on_a_socket(make_server: Callable[..., Server]) -> None:
    server = make_server(start=False)
    server.configure(server_bind=f"unix:{server.folder}/kissa.sock", server_proxy_hops=1)
    assert check(server).returncode == 1
    server.spawn()
    until(lambda: check(server).returncode == 0, "the server is well")
    assert server.stop() == 0


def test_a_faulty_configuration(make_server: Callable[..., Server]) -> None:
    server = make_server(start=False)
    server.configure(server_workers=0)
    ran = check(server)
    assert ran.returncode == 1
    assert "workers" in ran.stderr
