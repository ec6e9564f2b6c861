"""The figures of a run: one value for each round, by part, subject and measure."""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any


class Results:
    """What was measured, and where.

    Args:
        about: machine, versions and settings of the run.
    """

    def __init__(self, about: dict[str, Any]) -> None:
        self.about = about
        self.notes: list[str] = []
        self.figures: dict[str, dict[str, dict[str, list[float]]]] = {}

    def add(self, part: str, subject: str, measure: str, value: float) -> None:
        """Add the figure of one round."""
        of_subject = self.figures.setdefault(part, {}).setdefault(subject, {})
        of_subject.setdefault(measure, []).append(value)

    def note(self, text: str) -> None:
        """Keep something that a reader of the figures has to know, once."""
        if text not in self.notes:
            self.notes.append(text)

    def values(self, part: str, subject: str, measure: str) -> list[float]:
        """The figures of all rounds; none when it was not measured."""
        return self.figures.get(part, {}).get(subject, {}).get(measure, [])

    def middle(self, part: str, subject: str, measure: str) -> float | None:
        """The median over the rounds, or None when it was not measured."""
        found = self.values(part, subject, measure)
        return median(found) if found else None

    def ratio(self, part: str, one: tuple[str, str], other: tuple[str, str]) -> float | None:
        """How many times `other` (subject, measure) `one` is: the median of the rounds' ratios.

        Returns:
            None when one of them was not measured, or was 0.
        """
        pairs = zip(self.values(part, *one), self.values(part, *other), strict=False)
        found = [upper / lower for upper, lower in pairs if lower]
        return median(found) if found else None

    def subjects(self, part: str) -> Iterator[str]:
        """What was measured in a part, in the order in which it was."""
        yield from self.figures.get(part, {})

    def measures(self, part: str, word: str) -> list[int]:
        """The numbers that stand behind `word` in the measures of a part, such as the clients."""
        found = {
            int(measure.removeprefix(f"{word} "))
            for measures in self.figures.get(part, {}).values()
            for measure in measures
            if measure.startswith(f"{word} ") and measure.removeprefix(f"{word} ").isdigit()
        }
        return sorted(found)

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {"about": self.about, "notes": self.notes, "figures": self.figures}
        path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Results:
    """The results that `Results.save` wrote.

    Raises:
        OSError, ValueError, KeyError: there are none.
    """
    whole = json.loads(path.read_text(encoding="utf-8"))
    results = Results(whole["about"])
    results.notes, results.figures = whole["notes"], whole["figures"]
    return results
