"""What `auto` becomes: the loss and the metrics of the task, which the YAML of data and model names."""

from collections.abc import Mapping, Sequence
from typing import Any

from dltrain.config.choices import choice_text, chosen_by_file
from dltrain.config.folders import read_yaml
from dltrain.config.hints import show
from dltrain.config.interpolation import check_references, written
from dltrain.config.request import Override, Request
from dltrain.config.schema import MULTIPLE
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


def load_training(
    request: Request, chosen: dict[str, list[str]], groups: Sequence[Override], values: Sequence[str]
) -> tuple[Any, dict[str, list[str]], dict[str, str]]:
    """Compose train.yaml with `auto` decided. The task is guessed first: composing costs a tenth of a second."""
    for group, names in chosen.items():  # defaults inside a user's own files are checked here, with the file named
        for name in names:
            path = request.tree[group].get(name)
            if path and not path.is_relative_to(request.folders[0]):
                chosen_by_file(path, request.tree)
    wanted = [group for group in AUTOMATIC if "auto" in chosen[group]]
    task = guess_task(request, chosen) or "classification"
    plain = [f"{o.key}={choice_text(o)}" for o in groups if o.key not in wanted and o.value is not None]
    while True:
        decided = {g: [AUTOMATIC[g][task] if name == "auto" else name for name in chosen[g]] for g in wanted}
        words = [f"{g}=[{','.join(names)}]" if g in MULTIPLE else f"{g}={names[0]}" for g, names in decided.items()]
        raw = request.load("train", [*plain, *words, *values])
        check_references(raw)
        said = [(raw.get(group) or {}).get("task") for group in ("model", "data")]
        found = said[0] or said[1]
        if not wanted or found == task:
            return raw, chosen | decided, {g: f"{AUTOMATIC[g][task]} (task={task})" for g in wanted}
        if found not in AUTOMATIC["loss"]:
            options = ", ".join(n for n in request.tree[wanted[0]] if n != "auto")
            group = "model" if said[0] else "data"
            task = (written(raw).get(group) or {}).get("task")
            raise ConfigError(
                f"{wanted[0]}=auto: {group}.task={show(task)} does not decide it; choose one of {options}"
            )
        task = found


def guess_task(request: Request, chosen: Mapping[str, list[str]]) -> str | None:
    found = []
    for group in ("model", "data"):  # a model that names its task is trained for that, whatever the data's is
        found += [o.value for o in request.values() if o.key == f"{group}.task"]
        for where in ("experiment", group):
            for name in chosen.get(where, []):
                node = read_yaml(request.tree[where][name])
                node = node.get(group) or {} if where == "experiment" else node
                found.append(node.get("task") if isinstance(node, Mapping) else None)
    return next((task for task in found if isinstance(task, str) and task in AUTOMATIC["loss"]), None)
