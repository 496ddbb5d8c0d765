"""The recipe of a run: model, optimizer, schedule and length that suit a kind of data, where the user sets none.

A recipe is a YAML in `configs/recipe`, like an experiment. The YAML of the data names one (`recipe:`), or that of
the model, if the user chose a model; `NAME_TASK` is taken instead of `NAME` where it exists.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dltrain.config.choices import chosen_by_file, deliberate
from dltrain.config.folders import read_yaml
from dltrain.config.request import Request
from dltrain.errors import ConfigError


def find_recipe(request: Request, raw: Any, chosen: Mapping[str, Sequence[str]], task: str) -> str | None:
    """Return the recipe that recipe=auto stands for; None if it is not auto, or there is none.

    Raises:
        ConfigError: the YAML of the data or of the model names a recipe that does not exist.
    """
    mine, kind = deliberate(request), (raw.get("data") or {}).get("recipe")
    if mine.get("recipe", ["auto"]) != ["auto"] or kind is None:
        return None
    where, name = "data", kind
    if "model" in mine:
        where, name = "model", read_yaml(request.tree["model"][mine["model"][0]]).get("recipe")
    if name is None:
        return "none"
    if found := next((n for n in (f"{name}_{task}", name) if n in request.tree["recipe"]), None):
        return found
    raise ConfigError(f"{where}.recipe={name}: no such recipe (recipes: {', '.join(request.tree['recipe'])})")


def describe_recipe(request: Request, name: str, chosen: Mapping[str, Sequence[str]]) -> str:
    """Say what a recipe decides, in one line."""
    path = request.tree["recipe"][name]
    made = [f"{g}={','.join(chosen[g])}" for g, n in chosen_by_file(path, request.tree).items() if chosen[g] == n]
    typed = {o.key for o in request.values()}
    for choice in chosen.get("experiment", ()):
        typed |= set(read_yaml(request.tree["experiment"][choice]))
    set_here = [
        f"{key}={value}"
        for key, value in read_yaml(path).items()
        if key not in ("defaults", *typed) and not isinstance(value, Mapping)
    ]
    return f"{name} ({', '.join([*made, *set_here]) or 'the defaults of dltrain'})"
