"""From a request and YAML to a checked config: unknown keys, values, and the text to be saved.

Hydra composes, behind the callable `Request.load`; every message to the user is worded here.
"""

import copy
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dltrain.config.auto import load_training, made_for
from dltrain.config.call import Composed
from dltrain.config.checks import (
    INJECTED,
    Origin,
    check_alone,
    check_keys,
    check_nodes,
    check_trainable_activations,
    check_values,
    flat,
    unknown_keys,
)
from dltrain.config.choices import choices, listed, wrong_choices
from dltrain.config.folders import Tree, read_yaml
from dltrain.config.hints import nearest, show, unknown
from dltrain.config.interpolation import check_references, conceal, followed, references, resolve, save, written
from dltrain.config.request import Override, Request
from dltrain.config.schema import ENGINE, GROUPS, MULTIPLE, group_keys, node_keys, split_node
from dltrain.config.texts import kept_texts
from dltrain.config.untrusted import untrusted_faults
from dltrain.errors import ConfigError

TRAINING = ("train", "resume", "find-lr", "find-batch")
"""Commands that train, so that an activation without a gradient is refused."""


def compose(request: Request) -> Composed:
    """Compose train.yaml with the overrides, and check the result."""
    return compose_written(request)[0]


def compose_written(request: Request) -> tuple[Composed, dict[str, Any], dict[str, list[str]]]:
    """Compose and check train.yaml; return also the config as it is written, and the choices of each group."""
    check_overrides(request)
    values = [o.for_hydra for o in request.values()]
    raw, chosen, automatic = load_training(request, values, admit=lambda raw, chosen: _admit(request, raw, chosen))
    return _finish(request, raw, chosen, automatic), written(raw), chosen


def _admit(request: Request, raw: Any, chosen: Mapping[str, Sequence[str]]) -> Mapping[str, Any]:
    """Return the node `data` of a config that is not yet checked as a whole, checked as far as the node goes."""
    raw = copy.deepcopy(raw)
    with references(raw):
        origin = _make_ready(request, raw, chosen, saved=False)
        _keep(raw, kept_texts(written(raw), origin))
    node = resolve(raw)["data"]
    plain, _ = split_node("data", node)
    request.targets().check(plain, path="data", trust=request.trust, injected=INJECTED["data"])
    return node


def compose_options(request: Request) -> Composed:
    """Apply a command's own options to their defaults, and check them."""
    from omegaconf import OmegaConf

    check_overrides(request)
    raw = OmegaConf.create(dict(request.defaults))
    for o in request.own():
        OmegaConf.update(raw, o.key, o.value, merge=False, force_add=True)
    check_references(raw)
    config = resolve(raw)
    unread = [unknown(key, config) for key in config if key not in request.options]
    _raise_mistakes([*unread, *check_keys(config, request.options, written(raw))])
    return Composed(config, save(raw), trust=request.trust)


def amend(request: Request, saved: Mapping[str, Any]) -> Composed:
    """Apply the overrides to the config of a run folder, and check it; a choice replaces its whole node."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    check_overrides(request)
    if whole := next((o.key for o in request.groups() if o.key in ("experiment", "recipe")), None):
        raise ConfigError(f"{whole}: can only be chosen when a run starts; set single keys instead")
    if saved.get("trust"):
        print(
            "dltrain: trust in the run's config.yaml is ignored; if you trust this code, type trust=[...]",
            file=sys.stderr,
        )
    base = request.load("train", [])
    if unread := [key for key in saved if key not in base]:
        raise ConfigError(f"{unread[0]}: in the run's config.yaml: unknown{nearest(unread[0], base)}")
    try:
        raw = OmegaConf.create({**_engine_part(base, saved), "trust": [], "experiment": None})
        del raw["experiment"]
        check_references(raw)
        automatic: dict[str, str] = {}
        chosen = {o.key: listed(o.value) for o in request.groups()}
        if chosen:
            kept = [group for group in ("data", "model") if group not in chosen]
            tasks = [f"++{group}.task={OmegaConf.select(raw, f'{group}.task') or 'null'}" for group in kept]
            if {"data", "model"} & set(chosen):
                chosen.setdefault("task", ["auto"])  # which may follow from them
            facts = None if "task" in chosen else dict(raw["task"])
            fresh, taken, automatic = load_training(request, tasks, facts=facts)
            for group in chosen:
                raw[group], chosen[group] = fresh[group], taken[group]
            automatic = {group: why for group, why in automatic.items() if group in chosen}
        for o in request.values():
            group, _, inside = o.key.partition(".")
            whole = o.key in ENGINE or inside in node_keys(group)  # {data: 4} replaces {data: 2, fsdp: 2}
            if o.removes:
                _remove(raw, o.key)
            else:
                OmegaConf.update(raw, o.key, o.value, merge=not whole, force_add=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"config.yaml of the run: {str(error).splitlines()[0]}") from error
    except IndexError as error:
        keys = ", ".join(o.key for o in request.values() if re.search(r"\.\d", o.key))
        raise ConfigError(f"{keys}: the list has no such item; give the whole list: key=[...]") from error
    return _finish(request, raw, chosen, automatic, saved=True)


def _remove(raw: Any, key: str) -> None:
    from omegaconf import OmegaConf

    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(raw, parent)
    if node is None or last not in node:
        raise ConfigError(f"~{key}: the run's config has no {key}")
    del node[last]


def check_overrides(request: Request) -> None:
    """Raise ConfigError for choices that do not exist, and for keys that begin with an unknown word."""
    tops = {key.split(".")[0] for key in ENGINE} | set(request.options)
    mistakes, lost = [], []
    for o in request.overrides:
        first = o.key.split(".")[0]
        if o.key in request.tree and o.key not in request.options:
            mistakes += wrong_choices(request.tree, o)
        elif (first not in tops and first not in GROUPS) or (
            first in tops and o.key != first and o.key not in ENGINE
        ):
            lost.append(o)
        elif o.removes and (fault := _kept_key(o.key)):
            mistakes.append(fault)
        elif o.key == "trust":
            mistakes += check_keys({"trust": o.value}, {"trust": ENGINE["trust"]}, {})
        elif first in ("experiment", "recipe"):
            mistakes.append(f"{o.key}: set the key itself: {o.key.partition('.')[2]}={o.text}")
    known = _known(request) if lost else {}
    _raise_mistakes([*mistakes, *(unknown(o.key, known, value=str(o.text)) for o in lost)])


def _kept_key(key: str) -> str:
    """Return why a key cannot be removed, "" if it can: keys that dltrain reads always have a value."""
    group, _, inside = key.partition(".")
    name = inside.partition(".")[2] if group in MULTIPLE else inside
    if (
        key in ENGINE
        or group not in GROUPS
        or not inside
        or name in node_keys(group)
        or inside in group_keys(group)
    ):
        return f"~{key}: dltrain reads this key; set another value, such as {key}=null"
    return ""


def check_sweep(alternatives: Sequence[Override], tree: Tree) -> None:
    """Check each value of a sweep, as far as it can be checked separately."""
    mistakes = []
    for o in alternatives:
        mistakes += wrong_choices(tree, o) if o.key in tree else check_alone(o.key, o.value)
    _raise_mistakes(mistakes)


def _finish(
    request: Request, raw: Any, chosen: dict[str, list[str]], automatic: dict[str, str], *, saved: bool = False
) -> Composed:
    """Check a composed config as a whole and produce the text that is saved."""
    with references(raw):
        origin = _make_ready(request, raw, chosen, saved=saved)
        _keep(raw, kept_texts(written(raw), origin))
    config, plain = resolve(raw), written(raw)
    try:
        check_whole(request, config, plain, origin, keep=lambda texts: _keep(raw, texts))
    except ConfigError as error:
        raise ConfigError(conceal(str(error), plain, resolve(raw))) from None
    shown = {group: ",".join(names) for group, names in chosen.items() if names}
    return Composed(config, save(raw), shown, automatic, request.trust)


def check_whole(
    request: Request,
    config: dict[str, Any],
    plain: Mapping[str, Any],
    origin: Origin,
    *,
    keep: Callable[[Mapping[str, Any]], None],
) -> None:
    """Check every key and part of a config, and convert the values of `config`; `plain` has them as written.

    `keep` receives the texts that were read as numbers, as they are written: key -> text.
    """
    _raise_mistakes([*unknown_keys(config, plain, origin, request.trust), *check_values(config, plain, origin)])
    if request.imports:
        keep(check_nodes(config, origin, request.trust))
    if request.imports and request.command in TRAINING:
        _raise_mistakes(check_trainable_activations(config["model"], origin, request.trust))


def make_origin(request: Request, chosen: Mapping[str, Sequence[str]]) -> Origin:
    """Say where the keys of a config with these choices come from."""
    typed = {o.key: o.word.partition("=")[2] for o in request.values()}
    return Origin(typed, chosen, request.tree, request.folders, request.targets)


def _make_ready(request: Request, raw: Any, chosen: Mapping[str, Sequence[str]], *, saved: bool) -> Origin:
    """Refuse what YAML may not hold, and fill in what follows from the choices, in place."""
    from omegaconf import OmegaConf

    OmegaConf.set_struct(raw, False)
    check_references(raw)
    if raw.get("trust"):
        raise ConfigError(
            f"trust: {show(list(raw.trust))}: cannot be set in YAML; if you trust this code, type trust=[...]"
        )
    if "task" in chosen:
        OmegaConf.update(raw, "task.models", made_for(chosen["task"], request.tree), force_add=True)
    _one_length(raw, {o.key for o in request.values()})
    origin = make_origin(request, chosen)
    _check_untrusted(request, raw, origin, saved=saved)
    return origin


def _check_untrusted(request: Request, raw: Any, origin: Origin, *, saved: bool) -> None:
    """Refuse what only somebody who types may set, in a run's config and in files of --config-dir."""
    if not saved and len(request.folders) == 1:
        return
    named = (lambda path: " (in the run's config.yaml)") if saved else origin.named
    typed, own = tuple(origin.typed), request.folders[0]
    _raise_mistakes(untrusted_faults(followed(raw), typed=typed, own=own, named=named, saved=saved))


def _keep(raw: Any, texts: Mapping[str, Any]) -> None:
    """Put texts as they were written in the place of what they were read as."""
    from omegaconf import OmegaConf

    for path, text in texts.items():
        OmegaConf.update(raw, path, text, merge=False)


def _one_length(raw: Any, typed: set[str]) -> None:
    """Keep one of epochs, steps and examples: the typed one, else one that has no default."""
    given = [key for key in ("examples", "steps", "epochs") if raw[key] is not None]
    chosen = [key for key in given if key in typed]
    if len(chosen) > 1:
        both = " ".join(f"{key}={raw[key]}" for key in reversed(chosen))
        raise ConfigError(f"{both}: both set the length of training; set only one")
    if not given:
        raise ConfigError("epochs=null steps=null: set one of them, such as epochs=20")
    for key in given:
        if key != [*chosen, *given][0]:
            raw[key] = None


def _known(request: Request) -> dict[str, Any]:
    """List every key with its value as written, for hints before all of it is composed."""
    good = tuple(o for o in request.groups() if not wrong_choices(request.tree, o))
    request = replace(request, overrides=good)
    (name,) = choices(request)["data"][:1] or [""]
    path = request.tree["data"].get(name)
    any_task = ["data.task=classification"] if path and read_yaml(path).get("task") == "auto" else []
    raw, chosen, _ = load_training(request, any_task)
    return flat(written(raw), chosen) | dict(request.defaults)


def _engine_part(base: Any, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a saved config with what an older run folder may lack: dltrain's own keys, with their defaults."""
    whole = {**{key: value for key, value in base.items() if key not in GROUPS}, **saved}
    for group in (group for group in GROUPS if isinstance(saved.get(group), Mapping)):
        own = group_keys(group) if group in MULTIPLE else node_keys(group)
        lacking = {key for key in own if key in base[group] and key not in saved[group]}
        whole[group] = {**saved[group], **{key: base[group][key] for key in lacking}}
    return whole


def _raise_mistakes(mistakes: Sequence[str]) -> None:
    if mistakes:
        raise ConfigError("\n".join(mistakes))
