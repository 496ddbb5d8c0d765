"""The folders of YAML: where they are, which choices they hold, and reading untrusted files within limits."""

import copy
import functools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.config import hints
from dltrain.config.hydra_node import file_fault, is_plugin
from dltrain.config.schema import GROUPS
from dltrain.errors import ConfigError

MAX_BYTES, MAX_NODES, MAX_DEPTH, MAX_FILES = 1_000_000, 20_000, 32, 2_000
MAX_REFERENCES = 200  # ${...} in one file or config; OmegaConf takes 0.3 ms for each

Tree = Mapping[str, Mapping[str, Path]]
"""Group -> choice -> file."""


def packaged() -> Path:
    """Return dltrain's own configs: inside the installed wheel, else at the top of the checkout."""
    package = Path(__file__).resolve().parent.parent
    return next(p for p in (package / "configs", package.parent / "configs") if (p / "train.yaml").is_file())


def roots(config_dir: str | None) -> tuple[Path, ...]:
    """Return the folders to search, dltrain's own and then the user's, or raise ConfigError."""
    if config_dir is None:
        return (packaged(),)
    own = Path(config_dir).expanduser().resolve()
    if not own.is_dir():
        raise ConfigError(f"--config-dir {config_dir}: is not a folder")
    _check_folder(own)
    return (packaged(), own)


def read_tree(folders: tuple[Path, ...]) -> Tree:
    """Find the choices of every group."""
    found: dict[str, dict[str, Path]] = {group: {} for group in GROUPS}
    for folder in folders:
        for group in sorted(p for p in folder.iterdir() if p.is_dir() and _is_group(p.name)):
            for path in sorted(group.rglob("*.yaml")):
                found.setdefault(group.name, {})[path.relative_to(group).with_suffix("").as_posix()] = path
    return {group: dict(sorted(choices.items())) for group, choices in found.items() if choices}


def _is_group(name: str) -> bool:
    """Tell whether a folder holds choices of a group; `launch` has the options of launchers."""
    return not name.startswith((".", "_")) and name != "launch"


def first_comment(path: Path) -> str:
    """Return the first comment of a YAML file that is not a Hydra directive: when to choose it."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            text = line.strip()
            if text.startswith("#") and not re.match(r"#\s*@", text):
                return text.lstrip("# ").rstrip()
            if text and not text.startswith("#"):
                return ""
    return ""


def no_choice(tree: Tree, group: str, word: object) -> str:
    """Say that a group has no such choice, and what would be right."""
    return hints.no_choice(group, str(word), tree[group], tree)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file within limits of size, depth and nodes, or raise ConfigError.

    A process parses a file again only when it has changed: every job of a sweep reads the same fifty.
    """
    return copy.deepcopy(_parsed(path, _version(path)))


def _version(path: Path) -> tuple[int, ...]:
    """Return what differs once a file is written again or replaced; () of a file that cannot be looked at."""
    try:
        about = path.stat()
    except OSError:
        return ()
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


@functools.lru_cache(maxsize=512)
def _parsed(path: Path, version: tuple[int, ...]) -> dict[str, Any]:
    import yaml

    del version  # part of the key
    text = _read_limited(path)
    try:
        loader = _make_loader()
        _check_events(path, yaml.parse(text, Loader=loader))
        found = yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(yaml_fault(path, error)) from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ConfigError(f"{path}: must be a mapping of keys to values")
    return found


def read_scalars(path: Path) -> Any:
    """Read a YAML file that `read_yaml` has accepted, with every number, truth value and null as the text it is."""
    import yaml

    return yaml.load(_read_limited(path), Loader=yaml.BaseLoader)


def parse_yaml(text: str) -> dict[str, Any]:
    """Read YAML that dltrain wrote, as `read_yaml` reads it from a file; it has no limits."""
    import yaml

    return yaml.load(text, Loader=_make_loader()) or {}


def yaml_fault(path: Path | str, error: Exception) -> str:
    """Return the message for a YAML file that cannot be parsed, in one line."""
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = str(getattr(error, "problem", None) or error).splitlines()[0]
    return f"{path}{where}: is not valid YAML: {problem}"


def _check_folder(folder: Path) -> None:
    """Check every YAML file before Hydra reads it, since the node `hydra` could name code to run."""
    count, ours = 0, packaged()
    leads: dict[str, list[str]] = {}  # file -> the files that its defaults include
    for path in _walk(folder):
        name = path.relative_to(folder)
        if (ours / name).exists() and folder != ours:
            raise ConfigError(f"{path}: dltrain has a file of this name; rename yours")
        count += 1
        if count > MAX_FILES:
            raise ConfigError(
                f"--config-dir {folder}: holds more than {MAX_FILES} YAML files; name the folder with your config"
            )
        node = read_yaml(path)
        recipe = name.parts[0] == "experiment"
        if ("hydra" in node and not recipe) or re.search(r"\bhydra\b", str(name.parent)):
            raise ConfigError(f"{path}: hydra: may only be set in an experiment, or on the command line")
        if "hydra" in node and (fault := file_fault(node["hydra"])):
            raise ConfigError(f"{path}: {fault}")
        lines = path.read_text(encoding="utf-8").splitlines()
        _check_header(path, lines)
        for line in map(str.strip, lines):  # where Hydra sees line ends
            if (match := re.match(r"#+\s*@package\s+(\S+)", line)) and match[1] not in ("_global_", "_group_"):
                raise ConfigError(f"{path}: # @package {match[1]}: must be _global_ or _group_")
        _check_defaults(path, node.get("defaults") or [], recipe=recipe)
        leads[name.with_suffix("").as_posix()] = list(_included(name.parent.as_posix(), node.get("defaults") or []))
    for start in leads:
        _check_cycle(folder, leads, [start])


def _included(group: str, entries: Any) -> Iterator[str]:
    """Name the files that a defaults list includes, as group/choice; `override` only replaces a choice."""
    for entry in entries if isinstance(entries, list) else []:
        for key, value in entry.items() if isinstance(entry, Mapping) else [(group, entry)]:
            words = str(key).split()
            if "override" in words or not words:
                continue
            inside = isinstance(entry, Mapping) and not words[-1].startswith("/")
            place = f"{group}/{words[-1]}" if inside else words[-1]
            for choice in value if isinstance(value, list) else [value]:
                yield str(choice).lstrip("/") if str(choice).startswith("/") else f"{place.lstrip('/')}/{choice}"


def _check_cycle(folder: Path, leads: Mapping[str, list[str]], way: list[str]) -> None:
    """Refuse a defaults list that leads back to its own file, which Hydra would follow for ever."""
    for name in leads.get(way[-1], ()):
        if name == way[0]:
            raise ConfigError(f"{folder / name}.yaml: its defaults lead back to it: {' -> '.join([*way, name])}")
        if name in leads and name not in way:
            _check_cycle(folder, leads, [*way, name])


def _check_header(path: Path, lines: Sequence[str]) -> None:
    """Refuse a leading comment that begins with @, unless it is a directive of two words as Hydra expects."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not re.match(r"\s*#\s*@", line):
            return
        if line.strip() and len([word for word in line.strip().lstrip("#").strip().split(" ") if word]) != 2:
            raise ConfigError(
                f"{path}, line {number}: {line.strip()}: Hydra reads a leading comment that begins with @ as a "
                "directive, two words with a space between them (# @package _global_); write this one without @"
            )


def _check_defaults(path: Path, entries: Any, *, recipe: bool) -> None:
    """Check that a defaults list stays within the groups, without Hydra's own nodes or files not checked here."""
    for entry in entries if isinstance(entries, list) else [entries]:
        if recipe and isinstance(entry, Mapping) and all(is_plugin(*pair) for pair in entry.items()):
            continue
        for word in [entry] if not isinstance(entry, Mapping) else [*entry, *entry.values()]:
            listed = word if isinstance(word, list) else [word]
            if any(w != "_self_" and re.search(r"\bhydra\b|[@$]|(^|[/\s])[._]", str(w)) for w in listed):
                raise ConfigError(
                    f"{path}: defaults: {word}: may name groups and choices only, such as - override /model: cnn "
                    "(in an experiment also - override /hydra/sweeper: optuna, or a launcher)"
                )


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the YAML files as Hydra would find them, also behind links to folders."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = sorted(
            f
            for f in folders
            if not f.startswith((".", "_")) and os.path.realpath(os.path.join(place, f)) not in seen
        )
        yield from (Path(place) / f for f in sorted(files) if f.endswith((".yaml", ".yml")))


def _read_limited(path: Path) -> str:
    if path.exists() and not path.is_file():  # opening a FIFO may block forever
        raise ConfigError(f"{path}: is not a regular file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{path}: is larger than {MAX_BYTES:,} bytes")
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _check_events(path: Path, events: Iterator[Any]) -> None:
    """Count nodes as they would be with every alias written out, without building them."""
    import yaml

    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, nodes counted before it
    count = references = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            count += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            references += event.value.count("${")
        if references > MAX_REFERENCES:
            raise ConfigError(f"{path}: more than {MAX_REFERENCES} references ${{...}}")
        if count > MAX_NODES or len(open_nodes) > MAX_DEPTH:
            raise ConfigError(f"{path}: more than {MAX_NODES} values or {MAX_DEPTH} levels, aliases written out")


@functools.cache
def _make_loader() -> Any:
    """Make a safe loader that reads numbers as OmegaConf does: 1e-3 is a number, a date is text."""
    import yaml

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
    number = r"[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.\d[\d_]*(?:[eE][-+]?\d+)?)"
    special = r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"

    class Loader(base):
        yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name for it
            first: [(tag, form) for tag, form in pairs if not tag.endswith(("timestamp", "float"))]
            for first, pairs in base.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(f"^(?:{number}|{special})$"), list("-+0123456789.")
    )
    return Loader
