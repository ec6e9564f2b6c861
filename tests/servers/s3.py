"""What every S3 server of the tests gives: a bucket of its own for each test, and an end."""

import http.client
import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

PATIENCE = 60.0  # seconds for a server to come up or to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One empty bucket, and how to reach it."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str
    name: str

    def configuration(self) -> dict[str, object]:
        """Kissa's, as `section_key=value`."""
        return {
            "storage_backend": "s3",
            "storage_endpoint": self.endpoint,
            "storage_region": self.region,
            "storage_access_key": self.access_key,
            "storage_secret_key": self.secret_key,
            "storage_bucket": self.name,
        }

    def objects(self) -> set[str]:
        """The keys of all objects in it."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {one["Key"] for page in pages for one in page.get("Contents", [])}

    def client(self) -> Any:
        """A client of boto3: paths and no host names, Signature Version 4 for presigned URLs too,
        no second tries, and none of the newer checksums, which few servers know."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                signature_version="s3v4",
                retries={"max_attempts": 0},
            ),
        )


class S3Server:
    """A server of S3: subclasses say how it is started.

    Args:
        folder: all of its data lie here.
        port: of the endpoint, which stays the same when it is started again.
    """

    region = "us-east-1"

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.endpoint = f"http://127.0.0.1:{port}"
        self.access_key, self.secret_key = "KISSATESTS", secrets.token_hex(20)
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What serves the endpoint, in the foreground."""
        raise NotImplementedError

    def begin(self) -> None:
        """Serve for the first time."""
        self.start()

    def start(self) -> None:
        """Serve, on the data that there are."""
        assert self.process is None, "it runs already"
        self.process = self.spawn("endpoint", self.command())
        self.wait_for(self._answers, "the endpoint answers", self.process)

    def stop(self) -> None:
        """Refuse connections from now on; the data stay."""
        if self.process is not None:
            end(self.process)
            self.process = None

    def end(self) -> None:
        """Leave nothing running."""
        self.stop()

    def bucket(self) -> Bucket:
        """A new bucket with nothing in it."""
        bucket = Bucket(
            endpoint=self.endpoint,
            region=self.region,
            access_key=self.access_key,
            secret_key=self.secret_key,
            name=f"kissa-{secrets.token_hex(6)}",
        )
        bucket.client().create_bucket(Bucket=bucket.name)
        return bucket

    # For subclasses

    def spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Run `command` with its output in NAME.out."""
        with (self.folder / f"{name}.out").open("ab") as out:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which then end this in order
            )

    def wait_for(
        self, condition: Callable[[], bool], what: str, *processes: subprocess.Popen[bytes]
    ) -> None:
        """Poll until `condition` holds, as long as all of `processes` run."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            is_over = time.monotonic() > deadline or any(
                one.poll() is not None for one in processes
            )
            assert not is_over, f"not so: {what}\n{self.output()}"
            time.sleep(0.02)

    def output(self) -> str:
        """The last that its processes said."""
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-2000:]}"
            for path in sorted(self.folder.glob("*.out"))
        )

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """End it in order, and if it does not listen, at once."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
