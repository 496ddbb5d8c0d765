"""What a command receives: its words and options, and ways to get a checked config."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dltrain.errors import ConfigError
from dltrain.runs.repeat import Repeat


@dataclass(frozen=True)
class Composed:
    """A config that has been checked."""

    config: dict[str, Any]  # plain nested values, resolved
    text: str  # YAML to be saved: `auto` resolved, but oc.env and the like kept as written
    choices: dict[str, str] = field(default_factory=dict)  # group -> choice
    automatic: dict[str, str] = field(default_factory=dict)  # what `auto` was resolved to, and why
    trust: tuple[str, ...] = ()  # from this process's own command line only


def _no_sweep(repeat: Repeat) -> int:
    raise ConfigError(f"dltrain {repeat.command}: trains several runs, which only a command line can")


def _no_passed() -> Composed:
    raise ConfigError("what to train comes after --: dltrain launch local processes=2 -- model=cnn")


@dataclass(frozen=True)
class Call:
    """One call of a command.

    `compose()` returns the training config with the overrides; it is composed and checked once. `amend(saved)`
    applies the overrides to the config of a run folder, whose own `trust` is ignored; a choice such as model=cnn
    replaces the whole node.
    """

    words: tuple[str, ...]  # after the command: RUN
    overrides: tuple[str, ...]  # key=value words as typed
    options: Mapping[str, Any]  # the command's own keys with their values, checked
    compose: Callable[[], Composed]
    amend: Callable[[Mapping[str, Any]], Composed]
    folders: tuple[Path, ...] = ()  # of YAML: dltrain's own, then --config-dir
    folder: Path | None = None  # in a sweep: where this job must write
    job: int | None = None  # in a sweep: its number
    label: str = ""  # in a sweep: the overrides in which its jobs differ
    passed: tuple[str, ...] = ()  # after --: a command line of its own
    compose_passed: Callable[[], Composed] = _no_passed  # the checked config that `passed` describes
    sweep: Callable[[Repeat], int] = _no_sweep  # trains a run for each value; returns the exit code

    def check_only_options(self, command: str) -> None:
        """Raise ConfigError if a typed key is not an option of the command, which changes no config."""
        for word in self.overrides:
            if (key := word.partition("=")[0].lstrip("+~")) not in self.options:
                raise ConfigError(
                    f"{key}: dltrain {command} has no such option (options: {', '.join(self.options)})"
                )

    def training_words(self) -> tuple[str, ...]:
        """Return the typed words that are keys of training, without the command's own options."""
        return tuple(w for w in self.overrides if w.partition("=")[0].lstrip("+~") not in self.options)

    def training_command(self, *words: str, command: str = "") -> str:
        """Write a training with the typed keys and `words`, which replace these, as it is typed in a shell.

        Args:
            words: key=value words to add.
            command: another command that takes keys of training, such as find-lr.
        """
        new = {word.partition("=")[0] for word in words}
        kept = [w for w in self.training_words() if w.partition("=")[0].lstrip("+") not in new]
        folder = ["--config-dir", str(self.folders[1])] if len(self.folders) > 1 else []
        return shlex.join(["dltrain", *([command] if command else []), *folder, *kept, *words])
