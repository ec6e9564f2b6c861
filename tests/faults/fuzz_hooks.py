"""Loaded by schemathesis: headers as curl sends them, bytes as they are, no moments gone by."""

from typing import Any

import schemathesis
from schemathesis.transport.serialization import serialize_binary


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Header text beyond latin-1 as its UTF-8 bytes; requests would refuse to send it."""
    for name, value in (case.headers or {}).items():
        if isinstance(value, str):
            try:
                value.encode("latin-1")
            except UnicodeEncodeError:
                case.headers[name] = value.encode("utf-8", "replace").decode("latin-1")


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """No schema can say that a moment lies in the future."""
    del context
    body = case.body if isinstance(case.body, dict) else {}
    wishes = [(part or {}).get("expires") for part in (case.headers, case.query, body)]
    return not any("T" in str(wish).upper() for wish in wishes if wish is not None)


@schemathesis.serializer("application/offset+octet-stream")
def as_it_is(context: Any, value: Any) -> Any:
    """A piece of a file."""
    del context
    return value if isinstance(value, bytes) else serialize_binary(value)
