"""ShareX custom uploaders (.sxcu) for both APIs, in ShareX's current syntax.

The format is that of https://getsharex.com/docs/custom-uploader; ShareX reads URL and DeletionURL
of a 2xx answer and shows ErrorMessage for any other.
"""

import re
from urllib.parse import urlsplit

from config import Site
from errors import Invalid

LINKS = ("file", "page")  # what the link that ShareX copies leads to


def nekos(site: Site, token: str, link: str = "") -> dict[str, object]:
    """The uploader for /api/files/upload with the user's `token`.

    Args:
        link: one of LINKS, or empty for the usual one: to the file.

    Raises:
        Invalid: it is something else.
    """
    url = {"": "{json:url}", "file": "{json:url}", "page": "{header:X-View-URL}"}
    return _uploader(
        site,
        _kind("nekos", link, "file"),
        URL=_chosen(url, link),
        DestinationType="ImageUploader, TextUploader, FileUploader",
        RequestURL=f"{site.url}api/files/upload",
        Headers={"token": token},
        FileFormName="uploadFile",
        ErrorMessage="{response}",
    )


def f0ckm(site: Site, key: str, link: str = "") -> dict[str, object]:
    """The uploader for /api/v2/upload with an API `key`; it asks for rating and tags.

    Args:
        link: one of LINKS, or empty for the usual one: to the item's page.

    Raises:
        Invalid: it is something else.
    """
    url = {"": "{json:url}", "page": "{json:url}", "file": "{header:X-File-URL}"}
    return _uploader(
        site,
        _kind("f0ckm", link, "page"),
        URL=_chosen(url, link),
        DestinationType="ImageUploader, FileUploader",
        RequestURL=f"{site.url}api/v2/upload",
        Headers={"X-Api-Key": key},
        Arguments={"rating": "{select:sfw|nsfw|nsfl}", "tags": "{inputbox:Tags|}"},
        FileFormName="file",
        ErrorMessage="{json:msg}",
    )


def file_name(site: Site, uploader: dict[str, object]) -> str:
    """The name under which an uploader is saved, such as `files.example-nekos.sxcu`."""
    host = re.sub(r"[^a-z0-9.-]", "", (urlsplit(site.url).hostname or "kissa").lower())
    kind = str(uploader["Name"]).rpartition("(")[2].rstrip(")").replace(", ", "-")
    return f"{host}-{kind}.sxcu"


def _kind(api: str, link: str, usual: str) -> str:
    """What tells the uploaders of one host apart."""
    return api if link in ("", usual) else f"{api}, {link}"


def _chosen(url: dict[str, str], link: str) -> str:
    """Where in an answer ShareX finds the link that it copies."""
    if link not in url:
        raise Invalid("link must be file or page.")
    return url[link]


def _uploader(site: Site, kind: str, **specific: object) -> dict[str, object]:
    host = urlsplit(site.url).netloc
    return {
        "Version": "17.0.0",
        "Name": f"{host} ({kind})",
        "RequestMethod": "POST",
        "Body": "MultipartFormData",
        "DeletionURL": "{header:X-Deletion-URL}",
        **specific,
    }
