"""A Kissa whose files are in a bucket, and what lies there."""

import functools
import secrets
from dataclasses import dataclass
from typing import Any

from flask import Flask

from context import Services
from tests.conftest import Kissa
from tests.servers.s3 import Bucket, S3Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A part of a bucket for one test.

    Args:
        server: whose bucket it is.
        bucket: one for all tests of a server.
        prefix: what the keys begin with.
    """

    server: S3Server
    bucket: Bucket
    prefix: str

    @property
    def keys(self) -> dict[str, object]:
        """The configuration, as `start` of conftest.py takes it."""
        return {
            "storage_backend": "s3",
            "storage_endpoint": self.bucket.endpoint,
            "storage_bucket": self.bucket.name,
            "storage_region": self.bucket.region,
            "storage_access_key": self.bucket.access_key,
            "storage_secret_key": self.bucket.secret_key,
            "storage_prefix": self.prefix,
        }

    @property
    def environ(self) -> dict[str, str]:
        """The same as environment variables."""
        return {f"KISSA_{key.upper()}": str(value) for key, value in self.keys.items()}

    def objects(self) -> set[str]:
        """All keys, without the prefix."""
        pages = self.client().get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.bucket.name, Prefix=self.prefix)
        return {
            entry["Key"].removeprefix(self.prefix)
            for page in found
            for entry in page.get("Contents", ())
        }

    def uploads(self) -> list[str]:
        """The keys of uploads by parts that have not ended."""
        client = self.client()
        try:
            found = client.list_multipart_uploads(Bucket=self.bucket.name, Prefix=self.prefix)
        except client.exceptions.NoSuchUpload:  # rclone's word for none
            return []
        return [entry["Key"].removeprefix(self.prefix) for entry in found.get("Uploads", ())]

    def get(self, key: str) -> Any:
        """boto3's answer to a GetObject, its body read as `content`."""
        answer = self.client().get_object(Bucket=self.bucket.name, Key=self.prefix + key)
        with answer["Body"] as body:
            return answer | {"content": body.read()}

    def put(self, key: str, content: bytes) -> None:
        """Put an object there."""
        self.client().put_object(Bucket=self.bucket.name, Key=self.prefix + key, Body=content)

    def client(self) -> Any:
        """boto3's, one for all."""
        return _client(self.bucket)


class BucketKissa(Kissa):
    """One whose files are in `place`, named as they would be in a folder."""

    def __init__(self, app: Flask, services: Services, place: Place) -> None:
        super().__init__(app, services)
        self.place = place

    def files(self) -> set[str]:
        """The names of all files, those of hidden folders included; of an upload in pieces with
        any bytes one."""
        found = set()
        for key in self.place.objects():
            folder, name = key.split("/")[:2]
            found.add(name if folder == "files" else f".{folder}/{name}")
        return found


def place_on(server: S3Server) -> Place:
    """A new part of the server's one bucket."""
    bucket = _BUCKETS.get(server) or _BUCKETS.setdefault(server, server.bucket())
    return Place(server=server, bucket=bucket, prefix=f"{secrets.token_hex(4)}/")


@functools.cache
def _client(bucket: Bucket) -> Any:
    return bucket.client()


_BUCKETS: dict[S3Server, Bucket] = {}
