"""Uploads in pieces for both APIs: by a token unlisted, by an API key into the gallery."""

import auth
from auth import Environ
from blueprints.nekos import bp
from blueprints.tus import Tus
from resumable import Sender


def _sender(environ: Environ) -> Sender:
    if auth.header_of(environ, "X-Api-Key"):
        return Sender(user_id=auth.sender_by_api_key(environ), api="f0ckm")
    return Sender(user_id=auth.sender_by_token(environ), api="nekos")


Tus(path="/files/tus", authenticate=_sender).register(bp)
