"""What S3 servers do that Kissa must know: the same calls to Ceph and to rclone, and their answers.

docs/s3-servers.md has the table of it.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.servers.s3 import Bucket, S3Server

MIB = 1024 * 1024


@pytest.fixture(params=["ceph", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def bucket(server: S3Server) -> Bucket:
    return server.bucket()


@pytest.fixture
def s3(bucket: Bucket) -> Iterator["Calls"]:
    calls = Calls(bucket)
    yield calls
    calls.client.close()


class Calls:
    """boto3's calls on one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket, self.client = bucket.name, bucket.client()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)
        return lambda **keys: call(Bucket=self.bucket, **keys)

    def read(self, key: str) -> bytes:
        body: bytes = self.get_object(Key=key)["Body"].read()
        return body

    def presigned(self, key: str) -> str:
        of = {"Bucket": self.bucket, "Key": key}
        url: str = self.client.generate_presigned_url("get_object", Params=of, ExpiresIn=60)
        return url

    def copy(self, key: str, to: str, **more: Any) -> None:
        self.copy_object(Key=to, CopySource={"Bucket": self.bucket, "Key": key}, **more)

    def upload(self, key: str, *parts: bytes) -> tuple[str, dict[str, Any]]:
        """A multipart upload that wants its end: its id, and what to end it with."""
        upload: str = self.create_multipart_upload(Key=key, ContentType="image/png")["UploadId"]
        of = {"Key": key, "UploadId": upload}
        sent = [
            {"PartNumber": n, "ETag": self.upload_part(PartNumber=n, Body=part, **of)["ETag"]}
            for n, part in enumerate(parts, 1)
        ]
        return upload, of | {"MultipartUpload": {"Parts": sent}}

    def uploads(self) -> list[str]:
        return [one["Key"] for one in self.list_multipart_uploads().get("Uploads", [])]


def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer: Any = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def overwrites(server: S3Server) -> bool:
    """Whether a put with If-None-Match replaces what is there, as rclone's does."""
    return type(server).__name__ == "Rclone"


def test_a_put_that_must_not_overwrite(server: S3Server, s3: Calls) -> None:
    s3.put_object(Key="name", Body=b"one", IfNoneMatch="*")
    if overwrites(server):
        s3.put_object(Key="name", Body=b"two", IfNoneMatch="*")
        assert s3.read("name") == b"two"
        return
    with pytest.raises(ClientError) as error:
        s3.put_object(Key="name", Body=b"two", IfNoneMatch="*")
    assert refusal(error) == (412, "PreconditionFailed")
    assert s3.read("name") == b"one"


def test_the_end_of_a_multipart_upload_overwrites_whatever_it_is_told(s3: Calls) -> None:
    """Ceph 16 ignores If-None-Match there, so it cannot be what keeps a name from another's."""
    s3.put_object(Key="name", Body=b"one")
    _, end = s3.upload("name", b"two")
    s3.complete_multipart_upload(**end, IfNoneMatch="*")
    assert s3.read("name") == b"two"


def test_a_copy_overwrites_whatever_it_is_told(s3: Calls) -> None:
    s3.put_object(Key="name", Body=b"one")
    s3.put_object(Key="other", Body=b"two")
    s3.copy("other", "name", IfNoneMatch="*")
    assert s3.read("name") == b"two"


def test_a_copy_takes_the_type_along(s3: Calls) -> None:
    s3.put_object(Key="waiting/name", Body=b"<p>", ContentType="text/plain; charset=utf-8")
    s3.copy("waiting/name", "name")
    assert s3.read("name") == b"<p>"
    assert s3.head_object(Key="name")["ContentType"] == "text/plain; charset=utf-8"
    with pytest.raises(ClientError) as error:
        s3.copy("gone", "name")
    assert refusal(error) == (404, "NoSuchKey")


def test_a_multipart_upload_is_listed_and_ended(server: S3Server, s3: Calls) -> None:
    upload, end = s3.upload("large", bytes(5 * MIB), b"rest")
    assert s3.uploads() == ["large"]
    sizes = [part["Size"] for part in s3.list_parts(Key="large", UploadId=upload)["Parts"]]
    assert sizes == [5 * MIB, 4]
    s3.complete_multipart_upload(**end)
    head = s3.head_object(Key="large")
    assert (head["ContentLength"], head["ContentType"]) == (5 * MIB + 4, "image/png")
    assert s3.uploads() == []
    if overwrites(server):
        return
    s3.complete_multipart_upload(**end)  # a second try after a lost answer does no harm
    assert s3.head_object(Key="large")["ContentLength"] == 5 * MIB + 4


def test_a_multipart_upload_is_given_up(s3: Calls) -> None:
    upload, _ = s3.upload("large", bytes(5 * MIB))
    s3.abort_multipart_upload(Key="large", UploadId=upload)
    assert s3.uploads() == []
    with pytest.raises(ClientError) as error:
        s3.abort_multipart_upload(Key="large", UploadId=upload)
    assert refusal(error) == (404, "NoSuchUpload")
    with pytest.raises(ClientError) as error:
        s3.head_object(Key="large")
    assert refusal(error) == (404, "404")


def test_all_parts_but_the_last_have_five_mebibytes(server: S3Server, s3: Calls) -> None:
    _, end = s3.upload("large", b"little", b"rest")
    if overwrites(server):
        s3.complete_multipart_upload(**end)
        return
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**end)
    assert refusal(error) == (400, "EntityTooSmall")


def test_ranges(s3: Calls) -> None:
    s3.put_object(Key="name", Body=b"0123456789")
    answer = s3.get_object(Key="name", Range="bytes=2-4")
    assert (answer["Body"].read(), answer["ContentRange"]) == (b"234", "bytes 2-4/10")
    with pytest.raises(ClientError) as error:
        s3.get_object(Key="name", Range="bytes=10-")
    assert refusal(error) == (416, "InvalidRange")


def test_a_presigned_address_reads_and_nothing_else(server: S3Server, s3: Calls) -> None:
    s3.put_object(Key="name", Body=b"0123456789")
    url = s3.presigned("name")
    assert requests.get(url, timeout=30).content == b"0123456789"
    assert requests.head(url, timeout=30).status_code == 403
    assert requests.get(url[:-1], timeout=30).status_code == 403
    assert requests.get(url.replace("/name?", "/other?"), timeout=30).status_code == 403
    assert requests.get(s3.presigned("gone"), timeout=30).status_code == 404
    part = requests.get(url, headers={"Range": "bytes=2-4"}, timeout=30)
    assert part.content == b"234"
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    # nginx joins a file from ranges that are answered as RFC 9110 has it, and no others.
    assert part.status_code == (200 if overwrites(server) else 206)


def test_deletion_and_lists(s3: Calls) -> None:
    for key in ("a.png", "p/one", "p/two", "q"):
        s3.put_object(Key=key, Body=b"x")
    under = s3.list_objects_v2(Prefix="p/")["Contents"]
    assert [(one["Key"], one["Size"]) for one in under] == [("p/one", 1), ("p/two", 1)]
    flat = s3.list_objects_v2(Delimiter="/")["Contents"]
    assert [one["Key"] for one in flat] == ["a.png", "q"]
    first = s3.list_objects_v2(MaxKeys=3)
    rest = s3.list_objects_v2(ContinuationToken=first["NextContinuationToken"])
    keys = [one["Key"] for one in first["Contents"] + rest["Contents"]]
    assert keys == ["a.png", "p/one", "p/two", "q"]
    s3.delete_object(Key="q")
    s3.delete_object(Key="q")  # gone already
    s3.delete_objects(Delete={"Objects": [{"Key": "p/one"}, {"Key": "gone"}], "Quiet": True})
    assert [one["Key"] for one in s3.list_objects_v2()["Contents"]] == ["a.png", "p/two"]


def test_a_server_that_went_comes_back_with_its_data(server: S3Server, s3: Calls) -> None:
    s3.put_object(Key="name", Body=b"kept")
    server.stop()
    try:
        with pytest.raises(EndpointConnectionError):
            s3.read("name")
    finally:
        server.start()
    assert s3.read("name") == b"kept"
