"""Loaded by schemathesis: headers as curl sends them."""

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


@schemathesis.serializer("application/offset+octet-stream")
def as_it_is(context: Any, value: Any) -> Any:
    """A piece of a file."""
    del context
    return value if isinstance(value, bytes) else serialize_binary(value)
