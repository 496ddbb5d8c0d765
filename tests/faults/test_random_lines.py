"""Random lines of real keys: never exit code 1, a traceback, a minute of time, or a message without a key."""

import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from few import few

from dltrain.config.command_options import COMMANDS
from dltrain.config.folders import packaged, read_tree, read_yaml
from dltrain.config.schema import ENGINE, GROUPS, NODES

LONGEST = 60.0  # seconds of CPU time; what waits for ever meets the time limit of the test
PARTS = 4
ABSENT = ("mnist", "fashion_mnist", "tinyshakespeare", "mnist_masks", "digit_captions", "cifar10")  # downloads
SLOW = ("resnet18", "resnet20", "resnet32", "resnet56")  # they compile for long
LIGHT = {  # what compiles in a moment: a quick part of all lines
    "data": ("iris", "digits", "diabetes", "inline", "breast_cancer"),
    "model": ("linear", "mlp", "perceptron", "autoencoder", "rbm"),
}
VALUES = (
    *("", "null", "true", "false", "-1", "0", "1", "2", "3", "0.5", "3.5", "-0.1", "1e30", "-1e30", "1e400", "nan"),
    *("inf", "-inf", "abc", "a b", "ä", "1_000", "1e3", "9" * 40, "9" * 5000, "1000000000000", "2147483648"),
    *("[]", "[1,2]", "[0]", "[-1]", "[1e12]", "[[1]]", "[a,b]", "[null]", "[1.5]", "{}", "{a:1}", "{norm:1}"),
    *("${seed}", "${nothing}", "${oc.env:NOTHING_SET}", "'x'", "'", "[", "1ep", "0ep", "5min", "1e30ep", "auto"),
    *("none", "all", "last", "best", "relu", "swish", "/", "..", "x" * 300, "a=b", "1,2", "choice(1,2)", "~", "$"),
)


pytestmark = pytest.mark.usefixtures("quickly_compiled")


class Lines:
    """Makes command lines from the keys that there are."""

    def __init__(self, rng: random.Random, *, light: bool) -> None:
        self.rng, self.tree = rng, read_tree((packaged(),))
        every = {group: list(names) for group, names in self.tree.items() if group != "experiment"}
        every |= {group: list(names) for group, names in LIGHT.items()} if light else {}
        self.choices = {
            group: [name for name in names if name not in (*ABSENT, *SLOW)] for group, names in every.items()
        }

    def line(self) -> list[str]:
        """A training: choices, and one to three keys with values, right and wrong ones."""
        groups = self.rng.sample(sorted(self.choices), self.rng.choice((0, 1, 1, 2, 3)))
        chosen = {group: self.rng.choice(self.choices[group]) for group in groups}
        words = [f"{group}={name}" for group, name in ({"data": "iris", "model": "linear"} | chosen).items()]
        keys = [key for key in self._keys(chosen) if key not in ("output_dir", "overwrite")]
        words += [
            f"{self.rng.choice(keys)}={self.rng.choice(VALUES)}" for _ in range(self.rng.choice((1, 1, 2, 3)))
        ]
        words = [self._mistyped(word) if self.rng.random() < 0.1 else word for word in words]
        return [*self.rng.sample(words, len(words)), "dry_run=true", "quiet=true"]

    def _keys(self, chosen: dict[str, str]) -> list[str]:
        keys = [*ENGINE, *GROUPS]
        for group, names in NODES.items():
            keys += [f"{group.replace('*', chosen.get(group.split('.')[0], 'accuracy'))}.{name}" for name in names]
        for group, name in {"data": "iris", "model": "linear", "optim": "adam", **chosen}.items():
            node = read_yaml(self.tree[group][name])
            inside = [f"{key}.{inner}" for key, value in node.items() if isinstance(value, dict) for inner in value]
            keys += [
                f"{group}.{key}" for key in [*node, *inside] if "_target_" not in key and key != "defaults"
            ] * 3
        return keys

    def _mistyped(self, word: str) -> str:
        at = self.rng.randrange(len(word))
        return word[:at] + self.rng.choice(("", word[at] * 2, "x", ".", "=", "-")) + word[at + 1 :]


def names_something(message: str, line: list[str]) -> bool:
    """Say whether a message names a key or a group, what was typed, or a file."""
    tops = {key.split(".")[0] for key in (*ENGINE, *GROUPS, *COMMANDS["evaluate"])}
    keys = re.search(rf"(?<![\w.])({'|'.join(sorted(tops))})(?![\w])", message)
    typed = any(word and (word[:30] in message or f" {word.partition('=')[0]}: " in message) for word in line)
    return bool(keys or "/" in message or typed)


def try_line(dltrain: Callable[..., Any], line: list[str], cwd: Path) -> str:
    """Run a line, and say what is wrong about how it ended; nothing if it is right."""
    began = time.process_time()
    said = dltrain(*line, cwd=cwd)
    took = time.process_time() - began
    if said.code not in (0, 2, 3, 5, 8) or "Traceback" in said.err + said.out or "internal error" in said.err:
        return f"exit code {said.code}: {said.err[-300:]}"
    if took > LONGEST:
        return f"took {took:.0f} s"
    if said.code and not all(names_something(text, line) for text in said.err.splitlines()[:1]):
        return f"names no key: {said.err}"
    return ""


@few("part", range(PARTS))
def test_random_lines_end_well(dltrain, rng, count, tries, tmp_path: Path, part: int) -> None:
    """Try lines that compile in a moment; `test_many_random_lines_end_well` has the others."""
    go_through(dltrain, Lines(rng, light=True), count, tries(100) // PARTS, tmp_path)


@pytest.mark.faults
@pytest.mark.timeout(7200)
def test_many_random_lines_end_well(dltrain, rng, count, tries, tmp_path: Path) -> None:
    """All data sets without a download, and all models that do not compile for minutes."""
    go_through(dltrain, Lines(rng, light=False), count, tries(2000), tmp_path)


def go_through(dltrain: Callable[..., Any], lines: Lines, count: Any, most: int, cwd: Path) -> None:
    wrong = {}
    for _ in range(most):
        line = lines.line()
        count.tried += 1
        if fault := try_line(dltrain, line, cwd):
            wrong[" ".join(line)] = fault
        else:
            count.survived += 1
    assert not list(cwd.iterdir()), "a dry run wrote something"
    assert not wrong, "\n".join(f"{line}\n    {fault}" for line, fault in wrong.items())
