"""Uploads in pieces by the upload page: what is larger than one piece, to pause and to resume."""

import auth
from auth import Environ
from blueprints.tus import Tus
from blueprints.web import bp
from resumable import Sender


def _sender(_: Environ) -> Sender:
    auth.require_same_origin()
    return Sender(user_id=auth.require_viewer().id, api="web")


Tus(path="/upload/tus", authenticate=_sender).register(bp)
