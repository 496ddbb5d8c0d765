"""From typed words and YAML to a checked config: what `auto` means, unknown keys, values, and the text to be saved.

Hydra does the composing, behind the callable `load` that `cli` hands in; everything said to the user is said here.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dltrain.config.call import Composed
from dltrain.config.checks import (
    Origin,
    check_alone,
    check_keys,
    check_nodes,
    check_trainable_activations,
    check_values,
    flat,
    unknown_keys,
)
from dltrain.config.folders import Tree, no_choice, read_yaml
from dltrain.config.hints import nearest, show, unknown
from dltrain.config.interpolation import check_references, conceal, resolve, save, written
from dltrain.config.schema import COMMANDS, ENGINE, GROUPS, MULTIPLE, keys_beside, node_keys
from dltrain.errors import ConfigError

AUTOMATIC = {
    "loss": {
        "classification": "cross_entropy",
        "binary": "binary_cross_entropy",
        "regression": "mse",
        "language": "cross_entropy",
        "generation": "cross_entropy",
        "segmentation": "cross_entropy",
        "reconstruction": "mse",
        "energy": "contrastive_divergence",
        "adversarial": "gan",
    },
    "metrics": {
        "classification": "classification",
        "binary": "binary",
        "regression": "regression",
        "language": "language",
        "generation": "generation",
        "segmentation": "segmentation",
        "reconstruction": "reconstruction",
        "energy": "reconstruction",
        "adversarial": "adversarial",
    },
}
"""Group -> task -> what `auto` becomes."""


@dataclass(frozen=True)
class Override:
    """One key=value word, read by Hydra's grammar."""

    word: str  # as typed
    key: str
    value: Any  # plain
    text: str  # the value in Hydra's grammar


@dataclass(frozen=True)
class Typed:
    """Everything that decides a config besides a saved one."""

    command: str
    overrides: tuple[Override, ...]
    folders: tuple[Path, ...]
    tree: Tree
    load: Callable[[str, Sequence[str]], Any]  # name of the top YAML, Hydra's words -> DictConfig
    targets: Callable[[], Any]  # returns `dltrain.build.instantiate`, which imports jax
    imports: bool = True  # whether targets are imported and their arguments checked

    @property
    def trust(self) -> tuple[str, ...]:
        """The packages that this command line allows YAML to name."""
        given = [o.value for o in self.overrides if o.key == "trust"]
        checked = ENGINE["trust"].kind.parse(given[-1]) if given else []
        return tuple(checked)

    def own(self) -> tuple[Override, ...]:
        """The options of the command itself, such as split=test of evaluate."""
        return tuple(o for o in self.overrides if o.key.split(".")[0] in COMMANDS.get(self.command, {}))

    def groups(self) -> tuple[Override, ...]:
        """The choices that were typed: model=cnn."""
        return tuple(o for o in self.overrides if o.key in self.tree and o not in self.own())

    def values(self) -> tuple[Override, ...]:
        """The values that were typed: epochs=3, for a config of training; `trust` is none of them."""
        others = (*self.own(), *self.groups())
        return tuple(o for o in self.overrides if o not in others and o.key != "trust")


def compose(typed: Typed, name: str) -> Composed:
    """Compose configs/<name>.yaml with what was typed, and check it."""
    check_overrides(typed)
    if name != "train":
        raw = typed.load(name, [f"++{o.key}={o.text}" for o in typed.own()])
        config = resolve(raw)
        strangers = [unknown(key, config) for key in config if key not in COMMANDS[name]]
        _complain([*strangers, *check_keys(config, COMMANDS[name], written(raw))])
        return Composed(config, save(raw), trust=typed.trust)
    chosen = choices(typed)
    raw, chosen, automatic = _load_training(
        typed, chosen, typed.groups(), [f"++{o.key}={o.text}" for o in typed.values()]
    )
    return _finish(typed, raw, chosen, automatic)


def amend(typed: Typed, saved: Mapping[str, Any]) -> Composed:
    """Lay what was typed over the config of a run folder, and check it; a choice replaces its whole node."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    check_overrides(typed)
    if any(o.key == "experiment" for o in typed.groups()):
        raise ConfigError("experiment: is chosen when a run starts; set single keys here")
    if saved.get("trust"):
        print(
            "dltrain: trust in the run's config.yaml does not count; type it if it is code of yours",
            file=sys.stderr,
        )
    base = typed.load("train", [])
    if unread := [key for key in saved if key not in base]:
        raise ConfigError(f"{unread[0]}: in the run's config.yaml: unknown{nearest(unread[0], base)}")
    try:
        raw = OmegaConf.create({**_engine_part(base, saved), "trust": [], "experiment": None})
        del raw["experiment"]
        check_references(raw)
        automatic: dict[str, str] = {}
        chosen = {o.key: _listed(o.value) for o in typed.groups()}
        if chosen:
            kept = [group for group in ("data", "model") if group not in chosen]
            tasks = [f"++{group}.task={OmegaConf.select(raw, f'{group}.task') or 'null'}" for group in kept]
            fresh, taken, automatic = _load_training(typed, choices(typed), typed.groups(), tasks)
            for group in chosen:
                raw[group], chosen[group] = fresh[group], taken[group]
            automatic = {group: why for group, why in automatic.items() if group in chosen}
        for o in typed.values():
            group, _, inside = o.key.partition(".")
            whole = o.key in ENGINE or inside in node_keys(group)  # {data: 4} takes the place of {data: 2, fsdp: 2}
            OmegaConf.update(raw, o.key, o.value, merge=not whole, force_add=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"config.yaml of the run: {str(error).splitlines()[0]}") from error
    return _finish(typed, raw, chosen, automatic)


def check_overrides(typed: Typed) -> None:
    """Refuse choices that there are none of, and first words of keys that mean nothing."""
    tops = {key.split(".")[0] for key in ENGINE} | set(COMMANDS.get(typed.command, {}))
    mistakes, lost = [], []
    for o in typed.overrides:
        first = o.key.split(".")[0]
        if o.key in typed.tree and o.key not in COMMANDS.get(typed.command, {}):
            mistakes += _wrong_choices(typed.tree, o)
        elif (first not in tops and first not in GROUPS) or (
            first in tops and o.key != first and o.key not in ENGINE
        ):
            lost.append(o.key)
        elif o.key == "trust":
            mistakes += check_keys({"trust": o.value}, {"trust": ENGINE["trust"]}, {})
        elif first == "experiment":
            mistakes.append(f"{o.key}: set the key itself: {o.key.partition('.')[2]}={o.text}")
    known = _known(typed) if lost else {}
    _complain([*mistakes, *(unknown(key, known) for key in lost)])


def check_sweep(alternatives: Sequence[Override], tree: Tree) -> None:
    """Check every value that a sweep goes through, as far as it can be checked alone."""
    mistakes = []
    for o in alternatives:
        mistakes += _wrong_choices(tree, o) if o.key in tree else check_alone(o.key, o.value)
    _complain(mistakes)


def choices(typed: Typed) -> dict[str, list[str]]:
    """Find the choices of each group before composing: typed, else by the experiment, else by train.yaml."""
    chosen = _defaults(typed.folders[0] / "train.yaml", typed.tree)
    chosen |= {o.key: _listed(o.value) for o in typed.groups() if o.key == "experiment"}
    for name in chosen.get("experiment", []):
        chosen |= _defaults(typed.tree["experiment"][name], typed.tree)
    return chosen | {o.key: _listed(o.value) for o in typed.groups()}


def _load_training(
    typed: Typed, chosen: dict[str, list[str]], groups: Sequence[Override], values: Sequence[str]
) -> tuple[Any, dict[str, list[str]], dict[str, str]]:
    """Compose train.yaml with `auto` decided. The task is guessed first: composing costs a tenth of a second."""
    for group, names in chosen.items():  # defaults inside a user's own files are checked here, with the file named
        for name in names:
            path = typed.tree[group].get(name)
            if path and not path.is_relative_to(typed.folders[0]):
                _defaults(path, typed.tree)
    wanted = [group for group in AUTOMATIC if "auto" in chosen[group]]
    task = _guess_task(typed, chosen) or "classification"
    plain = [f"{o.key}={_choice_text(o)}" for o in groups if o.key not in wanted]
    while True:
        decided = {g: [AUTOMATIC[g][task] if name == "auto" else name for name in chosen[g]] for g in wanted}
        words = [f"{g}=[{','.join(names)}]" if g in MULTIPLE else f"{g}={names[0]}" for g, names in decided.items()]
        raw = typed.load("train", [*plain, *words, *values])
        check_references(raw)
        said = [(raw.get(group) or {}).get("task") for group in ("model", "data")]
        found = said[0] or said[1]
        if not wanted or found == task:
            return raw, chosen | decided, {g: f"{AUTOMATIC[g][task]} (task={task})" for g in wanted}
        if found not in AUTOMATIC["loss"]:
            options = ", ".join(n for n in typed.tree[wanted[0]] if n != "auto")
            group = "model" if said[0] else "data"
            task = (written(raw).get(group) or {}).get("task")
            raise ConfigError(
                f"{wanted[0]}=auto: {group}.task={show(task)} does not decide it; choose one of {options}"
            )
        task = found


def _finish(typed: Typed, raw: Any, chosen: dict[str, list[str]], automatic: dict[str, str]) -> Composed:
    """Check a composed config as a whole and make the text that is saved."""
    from omegaconf import OmegaConf

    OmegaConf.set_struct(raw, False)
    check_references(raw)
    if raw.get("trust"):
        raise ConfigError(f"trust: {show(list(raw.trust))}: does not count in YAML; type it if it is code of yours")
    _one_length(raw, {o.key for o in typed.values()})
    config, plain = resolve(raw), written(raw)
    origin = Origin(tuple(o.key for o in typed.values()), chosen, typed.tree, typed.folders, typed.targets)
    try:
        _complain([*unknown_keys(config, plain, origin, typed.trust), *check_values(config, plain, origin)])
        if typed.imports:
            check_nodes(config, origin, typed.trust)
        if typed.command in ("train", "resume"):
            _complain(check_trainable_activations(config["model"], origin))
    except ConfigError as error:
        raise ConfigError(conceal(str(error), plain, resolve(raw))) from None
    shown = {group: ",".join(names) for group, names in chosen.items() if names}
    return Composed(config, save(raw), shown, automatic, typed.trust)


def _one_length(raw: Any, typed: set[str]) -> None:
    """Leave one of epochs, steps and examples: the typed one, else one of those that nothing sets by default."""
    given = [key for key in ("examples", "steps", "epochs") if raw[key] is not None]
    chosen = [key for key in given if key in typed]
    if len(chosen) > 1:
        both = " ".join(f"{key}={raw[key]}" for key in reversed(chosen))
        raise ConfigError(f"{both}: both say how long to train; give one")
    if not given:
        raise ConfigError("epochs=null steps=null: give one of them, such as epochs=20")
    for key in given:
        if key != [*chosen, *given][0]:
            raw[key] = None


def _wrong_choices(tree: Tree, o: Override) -> list[str]:
    there = tree[o.key]
    if not isinstance(o.value, str | list) and not (o.value is None and o.key == "experiment"):
        example = f"{o.key}={next(iter(there))}"
        return [f"{o.word}: name a choice, such as {example} (choices: {', '.join(there)})"]
    if isinstance(o.value, list) and o.key not in MULTIPLE:
        return [f"{o.word}: one choice only (choices: {', '.join(there)})"]
    automatic = ["auto"] if o.key in AUTOMATIC else []
    return [no_choice(tree, o.key, name) for name in _listed(o.value) if name not in (*there, *automatic)]


def _defaults(path: Path, tree: Tree) -> dict[str, list[str]]:
    """Read which choices a YAML file's defaults list makes; a mistyped group or choice is said with the file."""
    found: dict[str, list[str]] = {}
    entries = read_yaml(path).get("defaults") or []
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: defaults: must be a list, such as: - override /model: cnn")
    for entry in entries:
        for word, value in entry.items() if isinstance(entry, Mapping) else ():
            group = str(word).removeprefix("override ").removeprefix("optional ").strip().lstrip("/")
            if group not in tree:
                raise ConfigError(
                    f"{path}: {word}: no such group{nearest(group, tree)} (groups: {', '.join(tree)})"
                )
            for name in _listed(value):
                if name not in tree[group] and not (name == "auto" and group in AUTOMATIC):
                    raise ConfigError(f"{path}: {no_choice(tree, group, name)}")
            found[group] = _listed(value)
    return found


def _guess_task(typed: Typed, chosen: Mapping[str, list[str]]) -> str | None:
    found = []
    for group in ("model", "data"):  # a model that names its task is trained for that, whatever the data's is
        found += [o.value for o in typed.values() if o.key == f"{group}.task"]
        for where in ("experiment", group):
            for name in chosen.get(where, []):
                node = read_yaml(typed.tree[where][name])
                node = node.get(group) or {} if where == "experiment" else node
                found.append(node.get("task") if isinstance(node, Mapping) else None)
    return next((task for task in found if isinstance(task, str) and task in AUTOMATIC["loss"]), None)


def _known(typed: Typed) -> dict[str, Any]:
    """List every key with its value as written, for hints before all of it is composed."""
    good = tuple(o for o in typed.groups() if not _wrong_choices(typed.tree, o))
    raw, chosen, _ = _load_training(
        replace(typed, overrides=good), choices(replace(typed, overrides=good)), good, []
    )
    own = read_yaml(typed.folders[0] / f"{typed.command}.yaml") if COMMANDS.get(typed.command) else {}
    return flat(written(raw), chosen) | own


def _engine_part(base: Any, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a saved config with what an older run folder may lack: dltrain's own keys, with their defaults."""
    whole = {**{key: value for key, value in base.items() if key not in GROUPS}, **saved}
    for group in (group for group in GROUPS if isinstance(saved.get(group), Mapping)):
        own = keys_beside(group) if group in MULTIPLE else node_keys(group)
        lacking = {key for key in own if key in base[group] and key not in saved[group]}
        whole[group] = {**saved[group], **{key: base[group][key] for key in lacking}}
    return whole


def _choice_text(o: Override) -> str:
    if o.value is None:
        return "null"
    return f"[{','.join(o.value)}]" if isinstance(o.value, list) else str(o.value)


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, list | tuple) else [str(value)]


def _complain(mistakes: Sequence[str]) -> None:
    if mistakes:
        raise ConfigError("\n".join(mistakes))
