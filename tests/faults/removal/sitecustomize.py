"""Takes a safeguard out of a process and of all that it starts, before anything is imported.

Python runs this by itself where this folder is in PYTHONPATH. The variable REMOVED_SAFEGUARD holds
a JSON list of [file, old, new]: in the source of `file`, as it is imported or rendered, the text
`old`, which must stand there exactly once, becomes `new`. No file changes.
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

_CHANGES: dict[str, list[tuple[str, str]]] = {}
for _file, _old, _new in json.loads(os.environ.get("REMOVED_SAFEGUARD", "[]")):
    _CHANGES.setdefault(_file, []).append((_old, _new))


class SafeguardNotFound(Exception):
    """The text to take out is not there, or not once."""


def _changed(file: str, source: str) -> str:
    for old, new in _CHANGES[file]:
        if source.count(old) != 1:
            raise SafeguardNotFound(f"{file}: {source.count(old)} times: {old}")
        source = source.replace(old, new)
    return source


class _Loader(SourceFileLoader):
    """Compiles the changed source, past any cache."""

    def get_code(self, fullname: str) -> CodeType:
        source = _changed(fullname.replace(".", "/") + ".py", self.get_source(fullname) or "")
        return compile(source, self.path, "exec", dont_inherit=True)


class _Finder:
    """Finds the modules to change where Python would find them."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.replace(".", "/") + ".py" not in _CHANGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin:
            spec.loader = _Loader(name, spec.origin)
        return spec


def _change_templates() -> None:
    """Only on demand: importing jinja2 in every process would take longer than most of them."""
    import jinja2

    read = jinja2.FileSystemLoader.get_source

    def get_source(self: Any, environment: Any, template: str) -> Any:
        source, *rest = read(self, environment, template)
        file = f"templates/{template}"
        return (_changed(file, source) if file in _CHANGES else source, *rest)

    jinja2.FileSystemLoader.get_source = get_source  # type: ignore[method-assign]


if _CHANGES:
    sys.meta_path.insert(0, _Finder)
if any(file.startswith("templates/") for file in _CHANGES):
    _change_templates()
