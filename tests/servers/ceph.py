"""Ceph on one machine for the tests: a monitor, an OSD in memory, and the RADOS Gateway for S3."""

import base64
import json
import os
import secrets
import shutil
import struct
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.live.conftest import free_port
from tests.servers.s3 import PATIENCE, S3Server, end

# The first start makes some pools, one after the other, each of them a change of the map: the
# monitor otherwise collects changes for a second, and who waits for the map looks every five.
# There is no manager: it counts and watches, and nothing here asks it.
CONFIGURATION = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {folder}/keyring
run dir = {folder}
admin socket =
log file =
mon cluster log file =
log to stderr = true
crash dir = {folder}
pid file =
osd objectstore = memstore
memstore device bytes = 1073741824
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon data = {folder}/mon
mon data avail crit = 1
mon data avail warn = 1
osd data = {folder}/osd
paxos propose interval = 0.02
paxos min wait = 0.01
objecter tick interval = 0.5
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}
rgw thread pool size = 32
rgw enable lc threads = false
rgw enable quota threads = false
rgw run sync thread = false
rgw enable ops log = false
rgw enable usage log = false
"""
CAPS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"},
    "client.rgw": {"mon": "allow rw", "osd": "allow rwx"},
}
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Ceph(S3Server):
    """One node of Ceph; stopping it stops the gateway alone, so that the data stay."""

    def __init__(self, folder: Path) -> None:
        for tool in ("ceph-mon", "ceph-osd", "radosgw", "ceph", "monmaptool"):
            if shutil.which(tool, path=PATH) is None:
                pytest.skip(f"no {tool}: make test-packages installs it")
        super().__init__(folder, free_port())
        self._below: list[subprocess.Popen[bytes]] = []
        self._keys = {name: _key() for name in CAPS}
        self._fsid = str(uuid.uuid4())

    def command(self) -> list[str]:
        return self._tool("radosgw", "-f", "-n", "client.rgw")

    def begin(self) -> None:
        """Make a cluster and the user of the tests, and serve."""
        v2, v1 = free_port(), free_port()
        self._write_configuration(v2, v1)
        monmap, keyring = str(self.folder / "monmap"), str(self.folder / "keyring")
        addresses = f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]"
        self._run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "x", addresses, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "x", "--monmap", monmap, "--keyring", keyring)
        self._below.append(self.spawn("mon", self._tool("ceph-mon", "-f", "-i", "x")))
        # Both must name the same one, or the monitor ignores the OSD for ever.
        osd = str(uuid.uuid4())
        secret = json.dumps({"cephx_secret": self._keys["osd.0"]})
        self._run("ceph", "osd", "new", osd, "-i", "-", stdin=secret)
        self._run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd)
        self._below.append(self.spawn("osd", self._tool("ceph-osd", "-f", "-i", "0")))
        # Before the gateway: of two that make the pools at once, one waits for seconds.
        self._run(
            *("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid", "kissa"),
            *("--display-name", "Kissa", "--access-key", self.access_key),
            *("--secret-key", self.secret_key),
        )
        self.start()

    def end(self) -> None:
        self.stop()
        while self._below:
            end(self._below.pop())

    def _write_configuration(self, v2: int, v1: int) -> None:
        places = {"folder": self.folder, "v2": v2, "v1": v1, "port": self.port}
        text = CONFIGURATION.format(fsid=self._fsid, **places)
        (self.folder / "ceph.conf").write_text(text)
        keyring = self.folder / "keyring"
        keyring.touch(0o600)
        for name, key in self._keys.items():
            caps = "".join(f'\tcaps {what} = "{may}"\n' for what, may in CAPS[name].items())
            with keyring.open("a") as file:
                file.write(f"[{name}]\n\tkey = {key}\n{caps}")
        for name in ("mon", "osd"):
            (self.folder / name).mkdir()

    def _tool(self, name: str, *words: str) -> list[str]:
        path = shutil.which(name, path=PATH)
        assert path is not None, name
        return [path, "-c", str(self.folder / "ceph.conf"), *words]

    def _run(self, *words: str, stdin: str = "") -> None:
        done = subprocess.run(
            self._tool(*words),
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stderr}\n{self.output()}"


def _key() -> str:
    """A secret of cephx: its kind, the moment of its making (s, ns), its length, 16 bytes."""
    return base64.b64encode(struct.pack("<HIIH", 1, 0, 0, 16) + secrets.token_bytes(16)).decode()
