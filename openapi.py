"""The OpenAPI 3.1 description of what is no page, built from the tables in openapi_paths.py."""

import openapi_paths as tables
from openapi_paths import Node, Route

VERSION = "1.0.0"
_ABOUT = """\
Two upload APIs, nekos.cafe's below `/api` and f0ckm's below `/api/v2`, over one set of accounts \
and files, with extensions.

Below `/api` every documented input is a request header. What is absent from or empty in the \
headers is read from a JSON body, then from form fields: parameters marked as required may then \
be left out. A credential is never read from the URL, and an upload reads it from its header \
alone.

Refusals are one sentence: plain text below `/api`, `{"success": false, "msg"}` below `/api/v2`, \
a page elsewhere. A path answers HEAD where it answers GET, and an upload in pieces as tus says."""
_TOKEN_IN_BODY = ("user", "admin")


def document(url: str) -> Node:
    """The whole description.

    Args:
        url: where this host is reached, as in [site] url.
    """
    paths: dict[str, Node] = {}
    for route in tables.ROUTES:
        method, path = route.call.split()
        paths.setdefault(path, {})[method.lower()] = _operation(route, path)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kissa", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": url.rstrip("/") or url}],
        "paths": paths,
        "components": {
            "schemas": tables.SCHEMAS,
            "responses": {
                f"{door}{status}": _refusal(door, status)
                for door in ("nekos", "f0ckm", "web")
                for status in tables.WHY
                if status >= 400
            },
            "securitySchemes": tables.SECURITY,
        },
    }


def _operation(route: Route, path: str) -> Node:
    operation: Node = {
        "operationId": route.id,
        "summary": route.summary,
        "tags": [path.split("/")[2] if path.startswith("/api/") else "web"],
        "security": tables.MAY[route.who],
        "parameters": _parameters(route, path),
    }
    if not operation["parameters"]:
        del operation["parameters"]
    body = route.body or ({} if route.by_header else _body(route, path))
    if body:
        operation["requestBody"] = body
    operation["responses"] = _responses(route, path)
    return operation


def _parameters(route: Route, path: str) -> list[Node]:
    found = []
    for part in path.split("/"):
        if part.startswith("{"):
            text, schema = tables.PATHS[part.strip("{}")]
            found.append(_parameter("path", part.strip("{}"), text, schema, required=True))
    for name in route.queries.split():
        if route.body:  # an upload's fields, for clients that can send nothing but the file
            text, schema = f"Where the form lacks the field `{name}`.", tables.FIELDS[name]
        else:
            text, schema = tables.QUERIES[name]
        found.append(_parameter("query", name, text, schema))
    for name in route.inputs.split():
        text, schema = tables.INPUTS[name.rstrip("?")]
        needed = not name.endswith("?")
        found.append(_parameter("header", name.rstrip("?"), text, schema, required=needed))
    return found


def _parameter(where: str, name: str, text: str, schema: Node, required: bool = False) -> Node:
    told = {"description": text, "schema": schema}
    return {"name": name, "in": where, **({"required": True} if required else {}), **told}


def _body(route: Route, path: str) -> Node:
    """The inputs once more, as a browser sends them."""
    names = [name.rstrip("?") for name in route.inputs.split()]
    properties = {name: tables.INPUTS[name][1] for name in names}
    if path.startswith("/api/") and route.call.startswith("POST") and route.who in _TOKEN_IN_BODY:
        properties = {"token": tables.TOKEN, **properties}
    if not properties:
        return {}
    schema = {"schema": {"type": "object", "properties": properties}}
    kinds = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
    text = "What the headers lack."
    return {"description": text, "content": dict.fromkeys(kinds, schema)}


def _responses(route: Route, path: str) -> Node:
    headers = {
        name.rstrip("?"): {
            "description": text,
            "required": not name.endswith("?"),
            "schema": tables.STRING,
        }
        for name, text in route.headers.items()
    }
    good: Node = {"description": tables.WHY[route.status]}
    if route.good is not None:
        good["content"] = _content(route.good)
    answers: Node = {str(route.status): {**good, **({"headers": headers} if headers else {})}}
    for status, more in route.also.items():
        answers[status] = {"description": tables.WHY[int(status)], **more}
    for status in sorted(route.bad.split()):
        answers[status] = {"$ref": f"#/components/responses/{_door(path)}{status}"}
    return answers


def _content(good: str | Node) -> Node:
    if isinstance(good, str):
        schema: Node = {"const": good}
        if good == tables.DELETED:
            schema = {"type": "string", "pattern": "^[^ ]+ has been deleted!$"}
        return {"text/plain": {"schema": schema}}
    if any("/" in key for key in good):
        return good
    if good == tables.ref("Sentence"):
        return {"text/plain": {"schema": good}}
    return {"application/json": {"schema": good}}


def _door(path: str) -> str:
    if path.startswith("/api/v2/"):
        return "f0ckm"
    # What Prometheus reads is plain text too.
    return "nekos" if path.startswith(("/api/", "/metrics")) else "web"


def _refusal(door: str, status: int) -> Node:
    contents: Node = {
        "nekos": {"text/plain": {"schema": tables.ref("Sentence")}},
        "f0ckm": {"application/json": {"schema": tables.ref("Refusal")}},
        "web": tables.HTML,
    }
    refusal = {"description": tables.WHY[status], "content": contents[door]}
    if status in (429, 503):
        told = {"description": "Seconds.", "schema": tables.COUNT}
        refusal["headers"] = {"Retry-After": told}
    return refusal
