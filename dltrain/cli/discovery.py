"""Finds commands: built-in ones, those of packages that `trust` names, and those of installed entry points.

No command is imported for this: `dltrain --help` lists commands by the docstrings of their files.
"""

import ast
import importlib
import importlib.machinery
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dltrain.config.command_options import COMMANDS
from dltrain.config.options import Option, read_options
from dltrain.config.schema import Key
from dltrain.errors import ConfigError

GROUP = "dltrain.commands"
"""The group of entry points: name = "package.module"."""


@dataclass(frozen=True)
class Command:
    """A command: the location of its module, its docstring, and its options with their defaults."""

    name: str
    module: str
    path: Path
    options: Mapping[str, Option] = field(default_factory=dict)  # of a user's command, from the YAML next to it

    @property
    def text(self) -> str:
        """The docstring of the module."""
        return ast.get_docstring(ast.parse(self.path.read_text(encoding="utf-8"))) or ""

    @property
    def keys(self) -> Mapping[str, Key]:
        """The options, each with its kind."""
        return COMMANDS.get(self.name, {}) or {name: option.key for name, option in self.options.items()}

    @property
    def defaults(self) -> dict[str, Any]:
        """The defaults of a user's command."""
        return {name: option.default for name, option in self.options.items()}

    def load(self) -> Any:
        """Import the module, or raise ConfigError."""
        module = importlib.import_module(self.module)
        if not callable(getattr(module, "run", None)):
            raise ConfigError(f"dltrain {self.name}: {self.path} has no function run(call)")
        return module


def find_commands(trust: Sequence[str] = (), argv: Sequence[str] | None = None) -> dict[str, Command]:
    """Return the commands by name; built-in names cannot be replaced.

    Args:
        trust: packages that may have commands.
        argv: a command line; installed commands are looked for only if it may need one, since that takes 40 ms.
            None: they are.
    """
    folder = Path(__file__).resolve().parent.parent / "commands"
    own = [(command_name(p.stem), f"dltrain.commands.{p.stem}", p) for p in _modules(folder)]
    found = {name: Command(name, module, path) for name, module, path in own}
    installed = _installed() if argv is None or _may_need_installed(argv, found) else []
    for name, module in (*_trusted(trust), *installed):
        path = _find(module)
        if name not in found and path is not None:
            found[name] = Command(name, module, path, read_options(path.with_suffix(".yaml")))
    return found


def with_launcher(command: Command, words: Sequence[str], folders: Sequence[Path]) -> Command:
    """Give `launch` the options of the launcher that its first word names; other commands stay as they are."""
    if command.name != "launch" or not words:
        return command
    name = Path(words[0]).name  # no other folder
    return replace(command, options=read_options(folders[0] / "launch" / f"{name}.yaml"))


def command_name(module: str) -> str:
    """Return the name of the command of a module: `find_lr` is `find-lr`."""
    return module.replace("_", "-")


def trusted_packages(argv: Sequence[str]) -> list[str]:
    """Return the packages that a command line trusts, before it is parsed completely."""
    words = [word.lstrip("+").partition("=")[2] for word in argv if word.lstrip("+").startswith("trust=")]
    return [name.strip() for name in words[-1].strip("[]").split(",") if name.strip()] if words else []


def user_packages(argv: Sequence[str]) -> list[str]:
    """Return the packages whose code is the user's own: trusted ones, and those of installed commands."""
    return [*trusted_packages(argv), *(module.split(".")[0] for _, module in _installed())]


def _trusted(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    for package in packages:
        start = _find(f"{package}.commands")
        if start is not None and start.name == "__init__.py":
            yield from (
                (command_name(path.stem), f"{package}.commands.{path.stem}") for path in _modules(start.parent)
            )


def _may_need_installed(argv: Sequence[str], built_in: Mapping[str, Command]) -> bool:
    """Tell whether a command line names a command that is not built in, or asks for the list of all."""
    words = [word for word in argv if not word.startswith("-") and "=" not in word]
    if words:
        return command_name(words[0]) not in built_in
    return any(word.startswith(("-h", "--h", "--shell", "-sc")) for word in argv)


def _installed() -> list[tuple[str, str]]:
    import importlib.metadata  # takes 30 ms

    return sorted((entry.name, entry.module) for entry in importlib.metadata.entry_points(group=GROUP))


def _modules(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.py") if not p.stem.startswith("_"))


def _find(module: str) -> Path | None:
    """Find the file of a module without importing its package; None if there is none."""
    top, *inside = module.split(".")
    spec = importlib.machinery.PathFinder.find_spec(top, [*sys.path, str(Path.cwd())])
    if spec is None:
        return None
    if not inside:
        return Path(spec.origin) if spec.origin else None
    for place in map(Path, spec.submodule_search_locations or ()):
        for path in (place.joinpath(*inside).with_suffix(".py"), place.joinpath(*inside, "__init__.py")):
            if path.is_file():
                return path
    return None
