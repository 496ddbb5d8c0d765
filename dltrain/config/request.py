"""A request from the command line or from Python: the overrides, and where choices are looked up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dltrain.config.folders import Tree
from dltrain.config.schema import ENGINE, Key


@dataclass(frozen=True)
class Override:
    """One key=value word, read by Hydra's grammar; or ~key, which removes a key."""

    word: str  # as typed
    key: str
    value: Any  # plain
    text: str  # the value in Hydra's grammar
    removes: bool = False

    @property
    def typed(self) -> str:
        """The word as dltrain reads it."""
        return f"~{self.key}" if self.removes else f"{self.key}={self.text}"

    @property
    def for_hydra(self) -> str:
        """The word for Hydra: sets the key whether or not it exists, or removes it."""
        return f"~{self.key}" if self.removes else f"++{self.key}={self.text}"


@dataclass(frozen=True)
class Request:
    """Everything that determines a config, apart from the config of a run folder."""

    command: str
    overrides: tuple[Override, ...]
    folders: tuple[Path, ...]
    tree: Tree
    load: Callable[[str, Sequence[str]], Any]  # name of the top YAML, Hydra's words -> DictConfig
    targets: Callable[[], Any]  # returns `dltrain.build.instantiate`, which imports jax
    suggest: Callable[[Mapping[str, Any], tuple[str, ...]], tuple[str, str]]  # data and trust -> its task, and why
    imports: bool = True  # whether targets are imported and their arguments checked
    options: Mapping[str, Key] = field(default_factory=dict)  # the command's own keys, such as split of evaluate
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of these
    hydra: tuple[Override, ...] = ()  # settings of Hydra itself, such as hydra.run.dir

    @property
    def trust(self) -> tuple[str, ...]:
        """The packages that this command line allows YAML to name."""
        given = [o.value for o in self.overrides if o.key == "trust"]
        checked = ENGINE["trust"].kind.parse(given[-1]) if given else []
        return tuple(checked)

    def own(self) -> tuple[Override, ...]:
        """The overrides that set an option of the command itself, such as split=test of evaluate."""
        return tuple(o for o in self.overrides if o.key.split(".")[0] in self.options)

    def groups(self) -> tuple[Override, ...]:
        """The overrides that choose a part, such as model=cnn."""
        return tuple(o for o in self.overrides if o.key in self.tree and o not in self.own())

    def values(self) -> tuple[Override, ...]:
        """The overrides that set a key of the training config: epochs=3; `trust` is handled separately."""
        others = (*self.own(), *self.groups())
        return tuple(o for o in self.overrides if o not in others and o.key != "trust")
