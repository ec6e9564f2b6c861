"""The figure in the architecture, held to: who may import whom."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From below: what it is kept in, what the service does, where Flask begins, the doors, the app.
LAYERS = {
    "errors": 0,
    "config": 0,
    "space": 0,
    "lock": 0,
    "fields": 0,
    "home": 0,
    "names": 0,
    "media": 0,
    "bucket": 0,
    "turns": 0,
    "cores": 0,
    "writer": 0,
    "sqlite": 0,
    "postgres": 0,
    "models": 1,
    "storage": 1,
    "auth": 3,
    "context": 3,
}
SERVICE, DOOR, APP = 2, 4, 5
# Pieces for all doors, no door themselves.
SHARED = {
    f"blueprints.{name}"
    for name in ("answers", "compression", "conditional", "ids", "receive", "tus")
}


def rooms() -> dict[str, Path]:
    paths = [*ROOT.glob("*.py"), *(ROOT / "blueprints").rglob("*.py")]
    parts = {path: path.relative_to(ROOT).with_suffix("").parts for path in paths}
    return {".".join(parts[path]).removesuffix(".__init__"): path for path in paths}


ROOMS = rooms()


def door(room: str) -> str:
    """A door's files count as one room, and so do the commands, and the places for files."""
    for whole in ("cli", "storage"):
        if room.startswith(whole):
            return whole
    return ".".join(room.split(".")[:2])


def layer(room: str) -> int:
    if room.startswith("blueprints"):
        return SERVICE + 1 if room in SHARED or room == "blueprints" else DOOR
    return {"app": APP, "cli": DOOR}.get(door(room), LAYERS.get(door(room), SERVICE))


def imports(room: str) -> set[str]:
    """What a room imports, wherever it does; of a package of ours, the module that is taken."""
    found = set()
    for node in ast.walk(ast.parse(ROOMS[room].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & ROOMS.keys()) or {str(node.module)}
    return found


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_imports_go_down_only(room: str) -> None:
    found = imports(room)
    foreign = {name.partition(".")[0] for name in found - ROOMS.keys()}
    ours = {name for name in found & ROOMS.keys() if door(name) != door(room)} - {"blueprints"}
    assert {name for name in ours if layer(name) > layer(room)} == set()
    if layer(room) in (LAYERS["models"], DOOR):
        assert {name for name in ours if layer(name) == layer(room)} == set()
    if layer(room) <= SERVICE:
        assert foreign & {"flask", "werkzeug", "click"} == set()
    if door(room) == "cli":  # the operator's door has no request
        assert {name for name in ours if layer(name) > SERVICE} == set()
    if room.startswith("blueprints"):
        assert foreign & {"peewee", "playhouse", "sqlite3"} == set()
    if room == "items":
        assert "accounts" not in ours


def test_nobody_imports_in_a_ring() -> None:
    graph = TopologicalSorter(
        {room: imports(room) & ROOMS.keys() for room in ROOMS if "." not in room}
    )
    assert list(graph.static_order())


def test_there_is_no_room_for_things_without_a_name() -> None:
    assert not ROOMS.keys() & {"utils", "helpers", "services", "common", "misc"}
