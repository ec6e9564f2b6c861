"""One bucket of an S3 server: the requests to it, and what becomes of their failures."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
from urllib3.exceptions import HTTPError

from config import Storage
from errors import NoSpace, Unavailable

log = logging.getLogger("kissa")
CONNECT_SECONDS, READ_SECONDS = 3, 30
ATTEMPTS = 2  # of one request
AT_ONCE = 1000  # keys of one DeleteObjects
_COPIED_AT_ONCE = 5 * 1024**3  # bytes that one CopyObject takes; beyond it goes by parts
_COPY_PART = 1024**3
_FULL = ("QuotaExceeded", "XMinioStorageFull", "XMinioStorageQuotaExceeded", "InsufficientStorage")
_NO_KEY = ("NoSuchKey", "404", "NotFound")
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


class Taken(Exception):
    """There is an object under this key already."""


class Fault(Exception):
    """The bucket cannot be used; its text says why, in one line."""


class Bucket:
    """The bucket of `[storage]`, over connections that the threads share.

    Args:
        rules: the section.
        threads: how many requests there may be at once.
    """

    def __init__(self, rules: Storage, threads: int) -> None:
        self.name = rules.bucket
        self._endpoint = rules.endpoint
        self._client = boto3.session.Session().client(
            "s3",
            endpoint_url=rules.endpoint,
            region_name=rules.region,
            aws_access_key_id=rules.access_key or None,
            aws_secret_access_key=rules.secret_key or None,
            config=BotoConfig(
                signature_version="s3v4",
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                max_pool_connections=threads,
                s3={"addressing_style": "path"},
                # Servers other than Amazon's refuse the newer ones, or did until lately.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, operation: str, **named: Any) -> Any:
        """Do one request, by boto3's name of it.

        Raises:
            FileNotFoundError: there is no object under this key.
            Taken: there is one, and there must not be.
            NoSpace: the store is full, or its quota is.
            Unavailable: it does not answer, or does not let us.
        """
        with _translated(operation):
            return getattr(self._client, operation)(Bucket=self.name, **named)

    def require(self) -> None:
        """See that the bucket is there and lets us in.

        Raises:
            Fault: with the reason.
        """
        where = f"bucket {self.name!r} at {self._endpoint}"
        try:
            self._client.head_bucket(Bucket=self.name)
        except NoCredentialsError:
            raise Fault(f"{where}: there is no access_key") from None
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            told = {404: "there is no such bucket", 403: "the keys do not open it"}
            raise Fault(f"{where}: {told.get(status, f'it answers {status}')}") from None
        except (BotoCoreError, HTTPClientError) as error:
            raise Fault(f"{where}: {_one_line(error)}") from None

    def head(self, key: str) -> tuple[int, datetime] | None:
        """Size in bytes and moment of an object; None when there is none."""
        try:
            found = self.ask("head_object", Key=key)
        except FileNotFoundError:
            return None
        return int(found["ContentLength"]), found["LastModified"]

    def put(
        self, key: str, body: bytes | bytearray, headers: dict[str, str], *, only_new: bool
    ) -> None:
        """Store an object in one request.

        Args:
            headers: by boto3's names of them.
            only_new: whether it must not take the place of another, for a server that knows that.

        Raises:
            Taken: there is another.
        """
        more = {"IfNoneMatch": "*"} if only_new else {}
        self.ask("put_object", Key=key, Body=body, **headers, **more)

    def copy(self, source: str, target: str, headers: dict[str, str]) -> None:
        """Copy an object, without its bytes coming here, under other headers.

        Raises:
            FileNotFoundError: there is none under `source`.
        """
        found = self.head(source)
        if found is None:
            raise FileNotFoundError(source)
        origin = {"Bucket": self.name, "Key": source}
        if found[0] <= _COPIED_AT_ONCE:
            named = {"CopySource": origin, "MetadataDirective": "REPLACE", **headers}
            self.ask("copy_object", Key=target, **named)
            return
        upload = self.ask("create_multipart_upload", Key=target, **headers)["UploadId"]
        this = {"Key": target, "UploadId": upload}
        parts = []
        try:
            for number, start in enumerate(range(0, found[0], _COPY_PART), 1):
                span = f"bytes={start}-{min(start + _COPY_PART, found[0]) - 1}"
                named = {"CopySource": origin, "CopySourceRange": span, **this}
                done = self.ask("upload_part_copy", PartNumber=number, **named)
                parts.append({"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]})
            self.ask("complete_multipart_upload", **this, MultipartUpload={"Parts": parts})
        except BaseException:
            self.abort(target, upload)
            raise

    def abort(self, key: str, upload: str) -> bool:
        """Drop an upload by parts; False when it is gone, or when that must be tried later."""
        try:
            self.ask("abort_multipart_upload", Key=key, UploadId=upload)
        except (FileNotFoundError, Unavailable):
            return False
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are gone are fine."""
        wanted = list(keys)
        for start in range(0, len(wanted), AT_ONCE):
            some = [{"Key": key} for key in wanted[start : start + AT_ONCE]]
            done = self.ask("delete_objects", Delete={"Objects": some, "Quiet": True})
            left = [one for one in done.get("Errors", ()) if one.get("Code") not in _NO_KEY]
            if left:
                log.error("the file store did not delete: %s", left[0].get("Code"))
                raise Unavailable

    def list(self, prefix: str) -> Iterator[str]:
        """The keys that begin with `prefix`, without it."""
        return (name for name, _ in self.list_sizes(prefix))

    def list_sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The same, with the bytes of their objects."""
        for page in self._pages("list_objects_v2", Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(prefix), int(entry["Size"])

    def list_uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        """The uploads by parts that have not ended: key, id and when they began."""
        with suppress(FileNotFoundError):  # rclone's word for none
            for page in self._pages("list_multipart_uploads", Prefix=prefix):
                for entry in page.get("Uploads", ()):
                    yield entry["Key"], entry["UploadId"], entry["Initiated"]

    def presigned(self, key: str, seconds: int, **named: str) -> str:
        """An address that reads an object without a key of ours, for so long."""
        parameters = {"Bucket": self.name, "Key": key, **named}
        address: str = self._client.generate_presigned_url(
            "get_object", Params=parameters, ExpiresIn=seconds
        )
        return address

    def _pages(self, operation: str, **named: Any) -> Iterator[Any]:
        pages = iter(self._client.get_paginator(operation).paginate(Bucket=self.name, **named))
        while True:
            with _translated(operation):
                page = next(pages, None)
            if page is None:
                return
            yield page


@contextmanager
def _translated(operation: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _meaning(operation, error) from error
    except (BotoCoreError, HTTPClientError, HTTPError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        log.error("the file store does not answer to %s: %s", operation, _one_line(error))
        raise Unavailable from error


def reading() -> Any:
    """What to read the body of an answer under: its failures become ours."""
    return _translated("get_object")


def _meaning(operation: str, error: ClientError) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _NO_KEY or code == "NoSuchUpload":
        return FileNotFoundError(code)
    if code in _TAKEN:
        return Taken(code)
    log.error("the file store answers %s with %s (%s)", operation, status, code)
    if code in _FULL or status == 507:
        return NoSpace("There is no space left on this server.")
    return Unavailable()


def is_loopback(endpoint: str) -> bool:
    """Whether an endpoint is on this machine."""
    host = urlsplit(endpoint).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
