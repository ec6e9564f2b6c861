"""What a run measures, how often and how long."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings of one run.

    Args:
        rounds: how often everything is measured, all servers in turn each time.
        seconds: how long each point of 100 KB uploads lasts.
        clients: how many clients upload at once, one point each.
        large_mb: the size of the one large upload, in MB of 1,048,576 bytes.
        many_mb: the size of each of the ten uploads at once, in the same MB.
        rows: how many rows the databases of the reads hold; the first is what others are held to.
        folder: where the servers keep everything.
    """

    rounds: int
    seconds: int
    clients: Sequence[int]
    large_mb: int
    many_mb: int
    rows: Sequence[int]
    folder: Path


def in_turn(things: Sequence[T], number: int) -> list[T]:
    """The things in the order of round `number`: each round another is first."""
    start = number % len(things) if things else 0
    return [*things[start:], *things[:start]]


def say(text: str) -> None:
    """Tell how far the run is."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
