"""What came of a population: the numbers of its members over time, and who copied whom."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.runs.sealed import read_sealed
from dltrain.runs.sweep_files import POPULATION


@dataclass(frozen=True)
class History:
    """The exchanges of a population."""

    steps: tuple[int, ...]  # of the exchanges
    numbers: dict[str, dict[str, list[tuple[int, float]]]]  # key -> member -> (step, value) from there on
    copies: tuple[tuple[int, str, str], ...]  # (step, member, whom it copied)

    def last(self, member: str) -> dict[str, float]:
        """Return the numbers with which a member trained last."""
        return {key: found[member][-1][1] for key, found in self.numbers.items() if member in found}

    def sentences(self, best: str) -> list[str]:
        """Say what a reader must know about a population whose best member is `best`."""
        numbers = ", ".join(f"{key}={value:g}" for key, value in self.last(best).items())
        return [
            f"A population: {len(self.steps)} exchanges with {len(self.copies)} copies. The table names the "
            f"numbers with which members began; member {best} ended with {numbers}.",
            f"The result belongs to the schedule of numbers in {POPULATION} and to the copied weights. best.yaml "
            "trains the last numbers alone, from the beginning, which is another run with another result.",
        ]


def read_history(folder: Path) -> History | None:
    """Read the population of a sweep; None if it is of another kind.

    Raises:
        CheckpointError: its file is damaged.
    """
    path = folder / POPULATION
    if not path.is_file():
        return None
    about: dict[str, Any] = read_sealed(path)
    numbers: dict[str, dict[str, list[tuple[int, float]]]] = {}
    copies = []
    for member, given in about["members"].items():
        for key, value in given.items():
            numbers.setdefault(key, {})[member] = [(0, value)]
    for exchange in about["exchanges"]:
        for member, found in exchange["members"].items():
            for key, value in found["numbers"].items():
                numbers[key][member].append((exchange["step"], value))
            if found["source"] is not None:
                copies.append((exchange["step"], member, str(found["source"])))
    return History(tuple(exchange["step"] for exchange in about["exchanges"]), numbers, tuple(copies))
