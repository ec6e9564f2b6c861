"""What openapi.py says of every route: schemas, inputs, statuses, and the table of routes."""

from dataclasses import dataclass, field
from typing import Any

Node = dict[str, Any]

_UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
# Neither control characters nor outer blanks, which a header could not carry.
_TEXT = r"^[^\x00-\x20\x7f-\xa0]([^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0])?$"
_MAX_ID = 10**18 - 1

STRING: Node = {"type": "string"}
_BOOLEAN: Node = {"type": "boolean"}
COUNT: Node = {"type": "integer", "minimum": 0}
_ID: Node = {"type": "integer", "minimum": 1, "maximum": _MAX_ID}
_URL: Node = {"type": "string", "format": "uri"}
_MOMENT: Node = {"type": "string", "format": "date-time", "pattern": "Z$"}
_NAME: Node = {"type": "string", "pattern": r"^[A-Za-z0-9]{5,32}(\.[a-z0-9]{1,10}){0,2}$"}
_USERNAME: Node = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{1,31}$"}
_PASSWORD: Node = {"type": "string", "minLength": 6, "maxLength": 256, "pattern": _TEXT}
TOKEN: Node = {"type": "string", "format": "uuid", "pattern": _UUID}
_ALBUM: Node = {"type": "string", "maxLength": 100}
_RATING: Node = {"enum": ["sfw", "nsfw", "nsfl"]}
_NUMBER: Node = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
_BYTES: Node = {
    "type": "string",
    "format": "binary",
    "contentMediaType": "application/octet-stream",
}


def _object(**properties: Node) -> Node:
    """An object of exactly these keys."""
    required = list(properties)
    closed = {"required": required, "additionalProperties": False}
    return {"type": "object", "properties": properties, **closed}


def _array(items: Node) -> Node:
    return {"type": "array", "items": items}


def _or_null(schema: Node) -> Node:
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}


_ITEM: dict[str, Node] = {
    "itemid": _ID,
    "url": _URL,
    "file": _URL,
    "thumbnail": _or_null(_URL),
    "username": _USERNAME,
    "rating": {"enum": ["sfw", "nsfw", "nsfl", None]},
    "tags": _array(STRING),
    "is_oc": _BOOLEAN,
    "created": _MOMENT,
}
_UPLOADER: dict[str, Node] = {
    "Version": {"const": "17.0.0"},
    "Name": STRING,
    "RequestMethod": {"const": "POST"},
    "Body": {"const": "MultipartFormData"},
    "DeletionURL": {"const": "{header:X-Deletion-URL}"},
    "DestinationType": STRING,
    "RequestURL": _URL,
}
SCHEMAS: dict[str, Node] = {
    "Item": _object(**_ITEM),
    "Gallery": _object(items=_array(ref("Item")), next=_or_null(_ID)),
    "Waiting": _object(**_ITEM, comment=_or_null(STRING)),
    "Queue": _object(items=_array(ref("Waiting")), next=_or_null(_ID)),
    "Done": _object(success={"const": True}, msg=STRING),
    "Refusal": _object(success={"const": False}, msg={"type": "string", "minLength": 1}),
    "Sentence": {"type": "string", "pattern": "^.+$"},
    "Live": _object(
        success={"const": True},
        msg={"const": "Upload successful! Your upload is now live."},
        itemid=_ID,
        manual_approval={"const": False},
        redirect={"type": "string", "pattern": "^/[0-9]+$"},
        url=_URL,
    ),
    "Pending": _object(
        success={"const": True},
        msg={"const": "Upload queued for manual approval."},
        itemid=_ID,
        manual_approval={"const": True},
        redirect={"type": "null"},
        url=_URL,
    ),
    "ApiKey": _object(
        id=_ID, name=STRING, last4=STRING, created=_MOMENT, last_used=_or_null(_MOMENT)
    ),
    "Album": _object(
        title={**_ALBUM, "minLength": 1}, url=_URL, zip=_URL, files=COUNT, created=_MOMENT
    ),
    "NekosUploader": _object(
        **_UPLOADER,
        URL={"enum": ["{json:url}", "{header:X-View-URL}"]},
        Headers=_object(token=TOKEN),
        FileFormName={"const": "uploadFile"},
        ErrorMessage={"const": "{response}"},
    ),
    "F0ckmUploader": _object(
        **_UPLOADER,
        URL={"enum": ["{json:url}", "{header:X-File-URL}"]},
        Headers=_object(**{"X-Api-Key": STRING}),
        Arguments=_object(rating=STRING, tags=STRING),
        FileFormName={"const": "file"},
        ErrorMessage={"const": "{json:msg}"},
    ),
}

_STRIP: Node = {"enum": ["yes", "no", "true", "false", "on", "off", "1", "0", ""]}
_STRIP_HELP = "Whether a picture loses its metadata; without it, the host decides."
# The inputs below /api: what they are, and their schema. A ? behind one in a row: optional.
INPUTS: dict[str, tuple[str, Node]] = {
    "username": ("A user's name; upper and lower case are the same.", _USERNAME),
    "password": ("The password.", _PASSWORD),
    "newpassword": ("The password from now on.", _PASSWORD),
    "regkey": ("A registration key, where the host is invite-only.", TOKEN),
    "adminkey": ("The host's key for making admins.", {"type": "string", "minLength": 1}),
    "file": ("The stored name of a file.", _NAME),
    "query": ("The exact name; absent, empty or blank means everything.", STRING),
    "limit": ("At most so many; without it, all.", _NUMBER),
    "offset": ("Leave out so many at the beginning.", _NUMBER),
    "name": ("A name to know the key by.", {"type": "string", "maxLength": 64, "pattern": _TEXT}),
    "id": ("The id of the key.", _ID),
    "link": ("What the link that is copied leads to.", {"enum": ["file", "page"]}),
    "album": ("The title of an album of the user's, made when it is new.", _ALBUM),
    "reason": ("Why; shown to the owner.", {"type": "string", "maxLength": 500}),
    "strip-metadata": (_STRIP_HELP, _STRIP),
    "refuse": ("An admin's `1`: nobody may upload the same bytes any more.", {"type": "string"}),
}
_WHOLE: Node = {"type": "integer", "minimum": 0, "maximum": _MAX_ID}
INPUTS |= {
    "Tus-Resumable": ("The version of the protocol.", {"const": "1.0.0"}),
    "Upload-Length": ("The bytes of the whole file.", {**_WHOLE, "minimum": 1}),
    "Upload-Metadata": ("`filename` and, by an API key, the item's fields, in base64.", STRING),
    "Upload-Offset": ("Where the piece begins.", _WHOLE),
    "Upload-Checksum": ("`sha256` or `sha1`, a blank, and the piece's hash in base64.", STRING),
    "X-HTTP-Method-Override": ("The method that is meant.", {"enum": ["HEAD", "PATCH", "DELETE"]}),
}
_RATING_HELP = "Needed unless the upload is a shitpost and the host allows these."
_TAGS_HELP = "Separated by commas; the host says how many are needed."
FIELDS: dict[str, Node] = {
    "rating": {"enum": _RATING["enum"], "description": _RATING_HELP},
    "tags": {"type": "string", "description": _TAGS_HELP},
    "comment": {"type": "string", "maxLength": 2000, "description": "The first comment."},
    "is_oc": {"type": "string", "description": "`1` or `true`: original content."},
    "is_shitpost": {"type": "string", "description": "`1` or `true`: no rating or tags needed."},
    "album": {**_ALBUM, "description": "The title of an album of the user's, new or not."},
}
_ALSO: dict[str, Node] = {"strip_metadata": {**_STRIP, "description": _STRIP_HELP}}
_TAG: Node = {"type": "string", "maxLength": 64, "pattern": "^[^,]*$"}
_EXPIRES: Node = {
    "type": "string",
    "anyOf": [
        {"pattern": r"^([1-9][0-9]{0,3}[mhd]|[1-9][0-9]{0,2}w|never)?$"},
        {"format": "date-time"},
    ],
    "examples": ["30m", "12h", "7d", "2w", "2027-01-31T12:00:00Z", "never"],
    "description": "When the file ends: so long after the upload, or at a moment of RFC 3339.",
}
FIELDS["expires"] = _EXPIRES
INPUTS["expires"] = ("When the file ends; before the field and the query of this name.", _EXPIRES)
QUERIES: dict[str, tuple[str, Node]] = {
    "tag": ("Repeatable: items that carry all of these.", {**_array(_TAG), "maxItems": 50}),
    "rating": ("One rating, or all.", {"enum": [*_RATING["enum"], "all"], "default": "sfw"}),
    "user": ("Only this user's items.", STRING),
    "before": ("Items older than this one: `next` of the page before.", _ID),
    "limit": ("Items on a page; above 200 means 200.", {**_ID, "default": 60}),
}
PATHS: dict[str, tuple[str, Node]] = {
    "itemid": ("The id of the item.", _ID),
    "name": ("The stored name of the file.", _NAME),
    "secret": ("What the deletion link holds.", {"type": "string", "minLength": 1}),
    "upload": ("The upload's name, from Location.", {**STRING, "pattern": "^[A-Za-z0-9]{32}$"}),
}

# Who may: the security requirements, any one of which is enough.
MAY: dict[str, list[Node]] = {
    "all": [],
    "user": [{"userToken": []}],
    "admin": [{"adminToken": []}],
    "key": [{"apiKey": []}],
    "user or key": [{"userToken": []}, {"apiKey": []}],
    "key or admin": [{"apiKey": []}, {"adminToken": []}],
    "all, key or admin": [{}, {"apiKey": []}, {"adminToken": []}],
}
_IN_TOKEN = "may come from a JSON or form body too, but for an upload."
SECURITY: dict[str, Node] = {
    "userToken": {
        "type": "apiKey",
        "in": "header",
        "name": "token",
        "description": f"The user's upload token; below /api it {_IN_TOKEN}",
    },
    "adminToken": {
        "type": "apiKey",
        "in": "header",
        "name": "token",
        "description": f"An admin's other token; below /api it {_IN_TOKEN}",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Api-Key",
        "description": "One of the user's API keys: 64 lower-case hex characters.",
    },
}

WHY = {
    200: "Done.",
    201: "The upload has begun.",
    204: "Done.",
    206: "The part that was asked for.",
    302: "The bytes are at this address, of a bucket.",
    304: "The client has it already.",
    400: "An input is missing, malformed, or breaks a rule.",
    401: "The credential is absent, malformed, unknown, revoked, or of a banned user.",
    403: "Not for this user, or switched off on this host.",
    404: "There is no such thing, or not for this user.",
    405: "This address does not take this method.",
    409: "The state of things forbids it.",
    410: "It was there, and its time is over.",
    412: "The client speaks another version of tus; Tus-Version says which is spoken here.",
    413: "The body, the file, or the form is too large.",
    414: "The address, with the fields in its query, is longer than 8,190 bytes; this is no JSON.",
    415: "Files of this extension, or bodies of this type, are not taken here.",
    416: "The file has no such part.",
    423: "Another request sends this upload just now.",
    429: "Too many failures or uploads; ask again after Retry-After.",
    451: "An admin has taken this content down.",
    460: "The piece does not have its checksum, and was dropped.",
    503: "No place free just now, or the file store does not answer; ask again after Retry-After.",
    507: "No space left, or the upload would pass the quota.",
}
_LOGIN = "400 401 413 429 503"
_LIST = "400 401 413"
_UPLOAD = "400 401 409 413 415 429 451 503 507"


@dataclass(frozen=True, slots=True)
class Route:
    """One row: what is asked how, by whom, and what comes back.

    `good` is the sentence (plain text) or the schema (JSON) of success, its whole content, or None;
    `bad` the statuses of refusals; `inputs` and `queries` are keys of the tables above, and
    `by_header` tells inputs that no body can carry.
    `headers` are those of success; one with a ? is not always there.
    """

    call: str
    id: str
    summary: str
    who: str
    inputs: str
    good: str | Node | None
    bad: str
    queries: str = ""
    body: Node = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    also: dict[str, Node] = field(default_factory=dict)
    status: int = 200
    by_header: bool = False


def _form(file: str, **fields: Node) -> Node:
    schema = {
        "type": "object",
        "properties": {file: {**_BYTES, "minLength": 1}, **fields},
        "required": [file],
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def _bare(schema: Node) -> Node:
    """JSON, or the bare URL for who accepts text/plain alone."""
    url = {"type": "string", "pattern": "^\\S+\\n$"}
    return {"application/json": {"schema": schema}, "text/plain": {"schema": url}}


HTML: Node = {"text/html": {"schema": STRING}}
_FILE: Node = {"*/*": {"schema": _BYTES}}
_PARTS: dict[str, Node] = {"206": {"content": _FILE}, "304": {}}
_STORED = _PARTS | {"302": {}}
DELETED = "NAME has been deleted!"
_VALID = "This token is valid!"
_RENEWED = "Token has been regenerated!"
_SXCU = {"Content-Disposition": "The name of the file to save it under."}
_SENT = {
    "X-Deletion-URL": "A page that asks once and deletes this file; it needs no login.",
    "X-View-URL?": "A page that shows the file; not while it waits for approval.",
    "X-File-URL?": "The file itself; not while it waits for approval.",
    "X-Album-URL?": "The album that the file went into, if one was named.",
    "X-Metadata?": "What became of a picture's metadata, if it was to be removed: removed, clean, "
    "unparsed, untouched.",
    "Expires-At?": "The moment at which the file ends; without one it stays.",
}

_PIECE: Node = {
    "description": "The next bytes of the file.",
    "content": {"application/offset+octet-stream": {"schema": _BYTES}},
}
_AT = {"Tus-Resumable": "The version of the protocol.", "Upload-Offset": "The bytes on disk."}
_SEND = "400 401 404 405 409 412 413 415 423 429 460 503 507"

_INFO = _object(
    inviteonly=_BOOLEAN,
    adminreg=_BOOLEAN,
    totalfiles=COUNT,
    uploadURL=_URL,
    maxuploadsize={"type": "string", "pattern": "^[0-9]+$", "description": "In MB."},
)
_LIVE_OR_PENDING: Node = {"oneOf": [ref("Live"), ref("Pending")]}
_UPLOADS = _array(_object(file=_NAME, username=_USERNAME))
_NEW_KEY = _object(id=_ID, name=STRING, key={"type": "string", "pattern": "^[0-9a-f]{64}$"})
_DONE = ref("Done")
_GALLERY = "tag rating user before limit"

# fmt: off
ROUTES = (
    Route("GET /api/info", "info", "What a client must know of this host", "all", "", _INFO, ""),
    Route("POST /api/user/info", "userInfo", "Name and number of files", "user", "",
           _object(username=_USERNAME, filecount=COUNT), "401 413"),
    Route("POST /api/user/signup", "signUp", "Make an account", "all",
           "username password regkey?", "Success!", "400 403 409 413 429 503"),
    Route("POST /api/user/delete", "deleteAccount", "Delete the account and all its files", "all",
           "username password", "This user has been deleted", f"{_LOGIN} 409"),
    Route("POST /api/user/passreset", "resetPassword", "Change the password", "all",
           "username password newpassword", "The password has been reset!", _LOGIN),
    Route("POST /api/user/keys/list", "listApiKeys", "The user's API keys, newest first", "user",
           "", _array(ref("ApiKey")), "401 413"),
    Route("POST /api/user/keys/create", "createApiKey", "A new API key, shown once", "user",
           "name", _NEW_KEY, "400 401 409 413"),
    Route("POST /api/user/keys/revoke", "revokeApiKey", "Revoke an API key", "user",
           "id", ref("Sentence"), "400 401 404 413"),
    Route("POST /api/user/albums/list", "listAlbums", "The user's albums, newest first", "user",
           "", _array(ref("Album")), "401 413"),
    Route("POST /api/user/sharex", "nekosUploader", "ShareX uploader for /api/files/upload",
           "user", "link?", ref("NekosUploader"), "400 401 413", headers=_SXCU),
    Route("POST /api/token/get", "getToken", "The upload token", "all",
           "username password", _object(token=TOKEN), _LOGIN),
    Route("POST /api/token/regen", "renewToken", "Another upload token", "user",
           "", _RENEWED, "401 413"),
    Route("POST /api/token/valid", "checkToken", "Whether the token is good", "user",
           "", _VALID, "401 413"),
    Route("POST /api/files/list", "listFiles", "The user's files, newest first", "user",
           "limit? offset?", _array(_NAME), _LIST),
    Route("POST /api/files/upload", "upload", "Store a file, unlisted", "user",
           "album? expires? strip-metadata?", _bare(_object(url=_URL)), _UPLOAD, "album expires",
           also={"414": {}}, headers=_SENT,
           body=_form("uploadFile", album=FIELDS["album"], expires=_EXPIRES, **_ALSO)),
    Route("POST /api/files/tus/", "beginResumable", "Begin an upload in pieces (tus 1.0.0)",
           "user or key", "Tus-Resumable Upload-Length Upload-Metadata? Upload-Checksum?", None,
           "400 401 412 413 415 429 460 503 507", status=201, by_header=True, body=_PIECE,
           headers={**_AT, "Location": "The path of the upload."}),
    Route("PATCH /api/files/tus/{upload}", "sendPiece", "Send the next bytes", "user or key",
           "Tus-Resumable Upload-Offset Upload-Checksum?", None, _SEND, status=204,
           by_header=True, body=_PIECE, headers=_AT),
    Route("DELETE /api/files/tus/{upload}", "endResumable", "Give an upload up", "user or key",
           "Tus-Resumable", None, "401 404 412", status=204, by_header=True),
    Route("POST /api/files/tus/{upload}", "overrideMethod", "PATCH, DELETE or HEAD, for clients "
           "that can only POST", "user or key", "Tus-Resumable X-HTTP-Method-Override "
           "Upload-Offset? Upload-Checksum?", None, _SEND, status=204, by_header=True,
           body=_PIECE, also={"200": {}}),
    Route("POST /api/files/delete", "deleteFile", "Delete one of the user's files", "user",
           "file", DELETED, "400 401 403 404 413 503"),
    Route("POST /api/admin/signup", "signUpAdmin", "Make an admin's account", "all",
           "username password adminkey", "Success!", "400 403 409 413 429 503"),
    Route("POST /api/admin/regkeygen", "createRegistrationKey", "A key for one signup", "admin",
           "", _object(regkey=TOKEN), "401 403 409 413"),
    Route("POST /api/admin/token/valid", "checkAdminToken", "Whether the admin token is good",
           "admin", "", _VALID, "401 413"),
    Route("POST /api/admin/token/get", "getAdminToken", "The admin token", "all",
           "username password", _object(token=TOKEN), _LOGIN),
    Route("POST /api/admin/token/regen", "renewAdminToken", "Another admin token", "admin",
           "", _RENEWED, "401 403 413"),
    Route("POST /api/admin/list/uploads", "listUploads", "Every file and whose it is", "admin",
           "query? limit? offset?", _UPLOADS, f"{_LIST} 403"),
    Route("POST /api/admin/list/users", "listUsers", "Every username", "admin",
           "query? limit? offset?", _array(_USERNAME), f"{_LIST} 403"),
    Route("POST /api/admin/delete/file", "takeDownFile", "Delete anybody's file", "admin",
           "file reason? refuse?", DELETED, "400 401 403 404 413 503"),
    Route("POST /api/admin/delete/user", "deleteUser", "Delete anybody's account", "admin",
           "username", "This user has been deleted", "400 401 403 404 409 413 503"),
    Route("POST /api/admin/ban/user", "ban", "Shut a user out; the files stay", "admin",
           "username", ref("Sentence"), "400 401 403 404 409 413"),
    Route("POST /api/admin/unban/user", "unban", "Let a banned user in again", "admin",
           "username", ref("Sentence"), "400 401 403 404 413"),
    Route("GET /api/openapi.json", "openapi", "This description", "all", "",
           {"type": "object", "required": ["openapi", "info", "paths"]}, ""),
    Route("POST /api/v2/upload", "uploadItem", "Store a file as an item of the gallery", "key",
           "album? expires? strip-metadata?", _bare(_LIVE_OR_PENDING), _UPLOAD, " ".join(FIELDS),
           also={"414": {}}, body=_form("file", **FIELDS, **_ALSO), headers=_SENT),
    Route("POST /api/v2/sharex", "f0ckmUploader", "ShareX uploader for /api/v2/upload", "key",
           "link?", ref("F0ckmUploader"), "400 401 413", headers=_SXCU),
    Route("GET /api/v2/items", "listItems", "The gallery, newest first", "all, key or admin",
           "", ref("Gallery"), "400 401", _GALLERY),
    Route("GET /api/v2/items/{itemid}", "showItem", "One item", "all, key or admin",
           "", ref("Item"), "401 404 410"),
    Route("DELETE /api/v2/items/{itemid}", "deleteItem", "Delete an item", "key or admin",
           "reason? refuse?", _DONE, "400 401 403 404 413 503"),
    Route("GET /api/v2/items/{itemid}/file", "showItemFile", "The bytes, also while it waits",
           "key or admin", "", _FILE, "401 403 404 410 416 503", also=_STORED),
    Route("GET /api/v2/queue", "listQueue", "Waiting items, newest first", "admin",
           "", ref("Queue"), "400 401 403 413", "before limit"),
    Route("POST /api/v2/queue/{itemid}/approve", "approve", "Make a waiting item public",
           "admin", "", _DONE, "401 403 404 409 413 503"),
    Route("POST /api/v2/queue/{itemid}/reject", "reject", "Remove a waiting item", "admin",
           "reason?", _DONE, "400 401 403 404 409 413 503"),
    Route("GET /healthz", "healthz", "Whether this server can work", "all",
           "", {"text/plain": {"schema": {"const": "ok\n"}}}, "", also={"503": {
               "description": "It cannot; the log knows why.",
               "content": {"text/plain": {"schema": {"const": "unavailable\n"}}}}}),
    Route("GET /metrics", "metrics", "What the server counts, for Prometheus", "admin",
           "", {"text/plain": {"schema": STRING}}, "401 403"),
    Route("GET /f/{name}", "file", "The bytes of a public file", "all",
           "", _FILE, "404 410 416 503", also=_STORED),
    Route("GET /d/{name}", "download", "The bytes under the name that their sender gave them",
           "all", "", _FILE, "404 410 416 503", also=_STORED),
    Route("GET /t/{name}", "thumbnail", "A small picture of a public picture or video", "all", "",
           {"image/webp": {"schema": _BYTES}}, "404 410 416 503 507", also=_PARTS),
    Route("GET /robots.txt", "robots", "What search engines may find", "all",
           "", {"text/plain": {"schema": STRING}}, ""),
    Route("GET /delete/{name}/{secret}", "askDeletion", "Ask whether to delete the file", "all",
           "", HTML, "404"),
    Route("POST /delete/{name}/{secret}", "deleteByLink", "Delete the file", "all",
           "", HTML, "404 503"),
)
# fmt: on
