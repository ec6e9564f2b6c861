"""Basic endpoints: what a client must know of this host."""

from flask import jsonify
from flask.typing import ResponseReturnValue

import gallery
from blueprints.nekos import bp
from context import get_config


@bp.get("/info")
def info() -> ResponseReturnValue:
    """The five documented keys."""
    config = get_config()
    return jsonify(
        inviteonly=config.accounts.invite_only,
        adminreg=config.accounts.admin_registration,
        totalfiles=gallery.count_public(),
        uploadURL=config.site.upload_url,
        maxuploadsize=str(config.uploads.max_size_mb),
    )
