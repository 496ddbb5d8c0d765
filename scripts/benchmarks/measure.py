"""Timing: rounds that alternate between programs, medians and spread, and reasons for skipped ones."""

import importlib.metadata
import importlib.util
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "keras", "lightning", "hydra-core")


class Skip(Exception):
    """Raised if a program or section cannot be measured here; the message has the reason."""


@dataclass(frozen=True)
class Setup:
    """The options of the command line."""

    rounds: int
    seconds: float  # per measurement
    tiny: bool  # networks and data so small that the whole table takes seconds
    only: tuple[str, ...]

    def wants(self, name: str, among: Iterable[str]) -> bool:
        """Tell whether `name` is selected: it is given, or none of `among` is."""
        chosen = set(self.only) & set(among)
        return not chosen or name in chosen


@dataclass(frozen=True)
class Peer:
    """A program that trains: `run(n)` runs about n steps, waits for the result, and returns their number."""

    name: str
    run: Callable[[int], int]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    section: str
    case: str  # the network or task
    program: str
    unit: str
    values: tuple[float, ...]  # one per round

    def as_json(self) -> dict[str, Any]:
        """Return the printed values, and those of each round."""
        named = {n: getattr(self, n) for n in ("section", "case", "program", "unit")}
        low, high = min(self.values), max(self.values)
        return {**named, "median": self.median, "low": low, "high": high, "values": list(self.values)}

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.values)


@dataclass
class Table:
    """All measured rows, and what was skipped."""

    rows: list[Row] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def add(self, section: str, case: str, program: str, unit: str, values: Iterable[float]) -> Row:
        """Add a row and print it."""
        row = Row(section, case, program, unit, tuple(float(value) for value in values))
        self.rows.append(row)
        spread = f"{number(min(row.values))} .. {number(max(row.values))}" if len(row.values) > 1 else ""
        say(f"{section:<7} {case:<20} {program:<26} {number(row.median):>10} {unit:<10} {spread}")
        return row

    def skip(self, what: str, why: object) -> None:
        """Print what is not measured here."""
        word = " ".join(str(why).split())[:200]
        self.skipped.append({"what": what, "why": word})
        say(f"skipped {what}: {word}")


def say(text: str) -> None:
    """Print at once: a whole table takes minutes."""
    print(text, flush=True)


def number(value: float) -> str:
    """Format with at most four digits and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def per_step(run: Callable[[int], int]) -> float:
    """Return the seconds per step of a compiled program, measured for a tenth of a second."""
    wanted = 1
    while True:
        began = time.perf_counter()
        done = run(wanted)
        seconds = time.perf_counter() - began
        if seconds > 0.1:
            return seconds / done
        wanted = 2 * done


def alternate(peers: Sequence[Peer], setup: Setup) -> dict[str, list[float]]:
    """Time the programs in turn, so that other load affects all of them; return steps per second by name."""
    counts = {}
    for peer in peers:
        peer.run(1)  # compiles
        counts[peer.name] = 1 if setup.tiny else max(1, round(setup.seconds / per_step(peer.run)))
    found: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(setup.rounds):
        for peer in peers:
            began = time.perf_counter()
            done = peer.run(counts[peer.name])
            found[peer.name].append(done / (time.perf_counter() - began))
    return found


def ratios(values: Sequence[float], references: Sequence[float]) -> list[float]:
    """Divide round by round: both values of a round have the same load."""
    return [a / b for a, b in zip(values, references, strict=True)]


def require(*modules: str) -> None:
    """Raise Skip unless these can be imported."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise Skip(f"{module} is not installed")


def cores() -> int:
    """Count the CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Describe the machine and the versions."""
    info, model = Path("/proc/cpuinfo"), platform.processor()
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    versions = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"cpu": model, "cores": cores(), "system": platform.platform(), "load": os.getloadavg()[0], **versions}
