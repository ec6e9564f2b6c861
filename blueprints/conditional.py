"""Conditional requests (RFC 9110 13): what a client still has is not sent to it again."""

import hashlib

from flask import Response, g, request

_POLICY = "Content-Security-Policy"


def leave_out(nonce: str) -> None:
    """Say that `nonce` stands in this answer and in no other, and is no change of what it shows."""
    g.nonce = nonce


def answer(response: Response) -> Response:
    """An `after_request`: give what may be stored a tag, and 304 to a client that has that tag.

    The tag is over what is shown. It is weak (RFC 9110 8.8.3), since two pages of one tag are not
    the same byte for byte: each has a nonce of its own, and some are compressed.
    """
    if response.status_code != 200 or not may_be_kept(response):
        return response
    if "Cache-Control" not in response.headers:
        # Stored, and asked for each time; nothing for known people in a cache that others share.
        is_known = "kissa.user_id" in request.environ
        response.headers["Cache-Control"] = "private, no-cache" if is_known else "no-cache"
    if request.blueprint == "f0ckm":
        response.vary.update(("Token", "X-Api-Key"))  # who is known may see more of the gallery
    if "ETag" not in response.headers:
        response.set_etag(_tag(response), weak=True)
    tag, _ = response.get_etag()
    if tag is not None and request.if_none_match.contains_weak(tag):
        response.status_code = 304
        response.set_data(b"")
        del response.headers["Content-Length"]
        # A cache takes the headers of a 304 for those that it has (RFC 9111 3.2). Another nonce in
        # the policy than in the page that it has would keep the scripts of that page from running.
        response.headers.pop(_POLICY, None)
    return response


def may_be_kept(response: Response) -> bool:
    """Whether a client may store this answer; not asked of stored files, which `stored_file` or
    nginx has tags for, and of lists that are made as they are sent."""
    return (
        request.method in ("GET", "HEAD")
        and response.is_sequence
        and not response.direct_passthrough
        and not response.cache_control.no_store
        and "X-Accel-Redirect" not in response.headers
    )


def _tag(response: Response) -> str:
    """A hash of what a 304 leaves as it is: the body, its type and its policy."""
    kept = f"{response.content_type}\n{response.headers.get(_POLICY)}\n"
    whole = kept.encode() + response.get_data()
    if "nonce" in g:
        whole = whole.replace(g.nonce.encode(), b"")
    return hashlib.sha256(whole).hexdigest()[:32]
