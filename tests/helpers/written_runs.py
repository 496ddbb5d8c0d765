"""Run folders with any results, written in milliseconds: nothing is trained."""

import json
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import yaml

from dltrain.runs.folder import RunFolder
from dltrain.runs.history import Extent
from dltrain.runs.sealed import seal

HOSTILE = "<script>alert('x')</script>&\"</title></script>"
"""A name that would run as a script where it is not escaped."""
CONFIG: dict[str, Any] = {
    "seed": 0,
    "name": None,
    "output_dir": None,
    "batch_size": 8,
    "data": {"_target_": "d", "path": None, "split": "auto", "split_seed": 0},
    "model": {"_target_": "m", "widths": [4]},
    "optim": {"learning_rate": 0.1},
}
EMPTY = ("meta", "img")  # elements of HTML that have no end


def write_run(
    path: Path,
    accuracy: float | None = 0.9,
    *,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    fingerprint: str = "data",
    classes: Sequence[str] = ("a", "b"),
    steps: int = 3,
    **summary: Any,
) -> RunFolder:
    """Write a run of `steps` evaluations with this test accuracy at its best state; None: it has not finished."""
    folder = RunFolder(path)
    folder.mark()
    made = {**CONFIG, "seed": seed, **(config or {})}
    words = ["data=tiny", "model=mlp", f"seed={seed}", f"output_dir={path}"]
    chosen = {"data": "tiny", "model": "mlp", "task": "classification", "loss": "cross_entropy", "optim": "adam"}
    folder.write_config(yaml.safe_dump(made, sort_keys=False), {"overrides": words, "choices": chosen})
    extent = Extent()
    lines = []
    for step in range(1, steps + 1):
        for split in ("train", "validation"):
            row = {"step": step, "split": split, "loss": 1 / step, "accuracy": 1 - 1 / (step + 1)}
            lines.append(json.dumps(row).encode() + b"\n")
            extent.add(lines[-1])
    folder.files.replace("metrics.jsonl", b"".join(lines))
    examples = {"train": 40, "validation": 10, "test": 20}
    splits = {name: f"hash of {name}" for name in examples}
    folder.files.replace_json(
        "data.json", seal({"fingerprint": fingerprint, "examples": examples, "splits": splits})
    )
    target = {"kind": "category", "shape": [], "dtype": "int32", "names": [], "vocabulary": list(classes)}
    source = {"kind": "numbers", "shape": [2], "dtype": "float32", "names": ["x", "y"], "vocabulary": []}
    counts = {"train": [30, 10], "test": [10, 10]}
    spec = {"inputs": {"numbers": source}, "targets": {"target": target}, "counts": counts}
    folder.files.replace_json("model.json", seal({"version": 1, "run": "id", "spec": spec, "preprocess": {}}))
    versions = {"dltrain": "0.1.0", "python": "3.11", "jax": "0.10.0"}
    folder.files.replace_json("environment.json", {"seed": seed, "versions": versions, "devices": ["cpu cpu"]})
    if accuracy is not None:
        found = {"loss": 0.5, "accuracy": accuracy}
        results = {"validation": {"loss": 0.4, "accuracy": 0.8}, "test": found}
        final = {"validation": {"loss": 0.6, "accuracy": 0.7}, "test": {"loss": 0.7, "accuracy": 0.65}}
        baselines = {"test": {"always a": {"accuracy": 0.5}}}
        content = {
            **{"run": "id", **final, "best": results, "best_step": steps - 1, "raw": {}, "steps": steps},
            **{"monitor": "validation/accuracy", "higher_is_better": True, "stop_reason": "all steps done"},
            **{"seconds": 1.5, "epochs": 1.0, "examples_per_second": 100.0, "parameters": 12, "skipped": []},
            **{"metrics_file": extent.state(), "hash": "0" * 64, "baselines": baselines, **summary},
        }
        folder.files.replace_json("summary.json", seal(content))
    return folder


class Page(HTMLParser):
    """A parsed page: every element with its attributes and its own text; raises if tags do not match."""

    def __init__(self, text: str) -> None:
        """Parse the text."""
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {[self.elements[i][0] for i in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in EMPTY:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag, f"</{tag}> ends another element"

    def handle_data(self, data: str) -> None:
        for i in self._open:
            self.elements[i][2].append(data)

    def texts(self, tag: str) -> list[str]:
        """Return the text of every element of a kind, with that of the elements in it."""
        return ["".join(text) for name, _, text in self.elements if name == tag]

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element of a kind."""
        return [given for name, given, _ in self.elements if name == tag]

    def rows(self) -> list[list[str]]:
        """Return the cells of every row of every table."""
        found: list[list[str]] = []
        for name, _, text in self.elements:
            if name == "tr":
                found.append([])
            elif name in ("th", "td"):
                found[-1].append("".join(text))
        return found
