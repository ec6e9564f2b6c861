"""ShareX custom uploaders (.sxcu) for both APIs, in ShareX's current syntax.

The format is that of https://getsharex.com/docs/custom-uploader; ShareX reads URL and DeletionURL
of a 2xx answer and shows ErrorMessage for any other.
"""

import re
from urllib.parse import urlsplit

from config import Site


def nekos(site: Site, token: str) -> dict[str, object]:
    """The uploader for /api/files/upload with the user's `token`."""
    return _uploader(
        site,
        "nekos",
        DestinationType="ImageUploader, TextUploader, FileUploader",
        RequestURL=f"{site.url}api/files/upload",
        Headers={"token": token},
        FileFormName="uploadFile",
        ErrorMessage="{response}",
    )


def f0ckm(site: Site, key: str) -> dict[str, object]:
    """The uploader for /api/v2/upload with an API `key`; it asks for rating and tags."""
    return _uploader(
        site,
        "f0ckm",
        DestinationType="ImageUploader, FileUploader",
        RequestURL=f"{site.url}api/v2/upload",
        Headers={"X-Api-Key": key},
        Arguments={"rating": "{select:sfw|nsfw|nsfl}", "tags": "{inputbox:Tags|}"},
        FileFormName="file",
        ErrorMessage="{json:msg}",
    )


def file_name(site: Site, api: str) -> str:
    """The name under which the uploader is saved, such as `files.example-nekos.sxcu`."""
    host = re.sub(r"[^a-z0-9.-]", "", (urlsplit(site.url).hostname or "kissa").lower())
    return f"{host}-{api}.sxcu"


def _uploader(site: Site, api: str, **specific: object) -> dict[str, object]:
    host = urlsplit(site.url).netloc
    return {
        "Version": "17.0.0",
        "Name": f"{host} ({api})",
        "RequestMethod": "POST",
        "Body": "MultipartFormData",
        "URL": "{json:url}",
        "DeletionURL": "{header:X-Deletion-URL}",
        **specific,
    }
