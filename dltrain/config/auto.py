"""Resolves `auto`: to the task that data or model name, and to the loss and metrics that the task's YAML names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dltrain.config.choices import choices, chosen_by_file, deliberate, word_of, words_of
from dltrain.config.folders import Tree, read_yaml
from dltrain.config.hints import nearest, show
from dltrain.config.interpolation import check_references, references, written
from dltrain.config.recipes import describe_recipe, find_recipe
from dltrain.config.request import Request
from dltrain.config.schema import MULTIPLE
from dltrain.errors import ConfigError

AUTOMATIC = ("loss", "metrics")
"""Groups whose `auto` the task decides: its YAML names their choices."""


def load_training(
    request: Request,
    values: Sequence[str],
    *,
    facts: Mapping[str, Any] | None = None,
    admit: Callable[[Any, Mapping[str, Sequence[str]]], Mapping[str, Any]] | None = None,
) -> tuple[Any, dict[str, list[str]], dict[str, str]]:
    """Compose train.yaml with `auto` resolved. The task is guessed first: composing takes a tenth of a second.

    Args:
        request: the request.
        values: further words for Hydra.
        facts: the task's node of an existing run, whose task cannot change.
        admit: checks a composed config and returns its node `data`, before its task is looked up in the data;
            None to look up neither task nor recipe.

    Returns:
        The config, the choices of each group, and for each group that was decided why.
    """
    chosen = choices(request)
    for group, names in chosen.items():  # defaults inside a user's own files are checked here, with the file named
        for name in names:
            path = request.tree[group].get(name)
            if path and not path.is_relative_to(request.folders[0]):
                chosen_by_file(path, request.tree)
    settled = facts is not None or chosen["task"] != ["auto"]
    task = chosen["task"][0] if chosen["task"] != ["auto"] else guess_task(request, chosen) or "classification"
    node: Mapping[str, Any] = facts if facts is not None else read_yaml(request.tree["task"][task])
    reasons: dict[str, str] = {}
    while True:
        wanted = [group for group in AUTOMATIC if "auto" in chosen[group]]
        decided = {g: _decided(request.tree, g, chosen[g], node, task) for g in wanted}
        raw = request.load("train", [*_words(request, chosen | decided | {"task": [task]}), *values])
        check_references(raw)
        with references(raw):
            found, reason = (task, "") if settled else _task_of(request, raw, chosen, admit)
            now = dict(raw["task"])
            if found == task:
                _check_model(raw, chosen, task)
        if found != task:
            task, node = found, read_yaml(request.tree["task"][found])
            continue
        if facts is None and any(now.get(g) != node.get(g) for g in wanted):
            node = now  # typed, or taken from another YAML by its defaults
            continue
        with references(raw):
            recipe = find_recipe(request, raw, chosen, task) if admit else None
        if recipe and chosen["recipe"] != [recipe]:
            chosen = choices(request, recipe=recipe)
            reasons["recipe"] = describe_recipe(request, recipe, chosen)
            continue
        if reason:
            reasons["task"] = f"{task} ({reason})"
        automatic = {g: f"{', '.join(decided[g])} (task={task})" for g in wanted}
        chosen = chosen | decided | ({} if facts is not None else {"task": [task]})
        return raw, chosen, reasons | automatic


def _words(request: Request, chosen: Mapping[str, Sequence[str]]) -> list[str]:
    """Write the choices for Hydra: what the user chose, the recipe, and what replaces `auto`.

    Those of an experiment are written, too, where there is a recipe: of two files that override a group Hydra takes
    the first.
    """
    typed = {o.key for o in request.groups() if o.value is not None and o.key != "model"}
    typed |= {"task", *(group for group in AUTOMATIC if group in chosen)}
    recipe = chosen["recipe"] not in (["auto"], ["none"])
    mine = deliberate(request)
    groups = [
        g for g in chosen if g in typed or (g in mine and (recipe or g == "model")) or (g == "recipe" and recipe)
    ]
    words = []
    for group in groups:
        names = chosen[group]
        words.append(f"{group}={words_of(names) if group in MULTIPLE else word_of(names[0]) if names else 'null'}")
    return words


def _decided(tree: Tree, group: str, names: Sequence[str], node: Mapping[str, Any], task: str) -> list[str]:
    """Replace `auto` by the task's choice."""
    choice = node.get(group)
    if not isinstance(choice, str) or choice not in tree[group] or choice == "auto":
        options = ", ".join(name for name in tree[group] if name != "auto")
        raise ConfigError(f"{group}=auto: task={task} has {group}={show(choice)}; choose one of {options}")
    return [choice if name == "auto" else name for name in names]


def _task_of(
    request: Request, raw: Any, chosen: Mapping[str, Sequence[str]], admit: Callable[..., Mapping[str, Any]] | None
) -> tuple[str, str]:
    """Return the task that the model or the data names, and why; that of the model counts first."""
    said = {group: (raw.get(group) or {}).get("task") for group in ("model", "data")}
    group = "model" if said["model"] else "data"
    if (group, said[group]) == ("data", "auto") and admit:
        return request.suggest(admit(raw, chosen), request.trust)
    tasks = [name for name in request.tree["task"] if name != "auto"]
    if said[group] not in tasks:
        task = (written(raw).get(group) or {}).get("task")
        raise ConfigError(
            f"task=auto: {group}.task={show(task)} is not a task{nearest(str(task), tasks)}; choose one of "
            f"{', '.join(f'task={name}' for name in tasks)}"
        )
    return str(said[group]), ""


def _check_model(raw: Any, chosen: Mapping[str, Sequence[str]], task: str) -> None:
    needed = (raw.get("model") or {}).get("task")
    if chosen["task"] != ["auto"] and needed and needed != task:
        model = ",".join(chosen["model"])
        raise ConfigError(
            f"task={task}: model={model} is for task={needed}; leave task out, or choose another model"
        )


def made_for(task: Sequence[str], tree: Tree) -> list[str]:
    """Return the choices of model whose YAML says that they are made for the task."""
    read = {name: read_yaml(path).get("tasks") for name, path in tree["model"].items()}
    return [name for name, tasks in read.items() if isinstance(tasks, list) and set(task) & set(tasks)]


def guess_task(request: Request, chosen: Mapping[str, list[str]]) -> str | None:
    """Read the task from the files that were chosen, before they are composed."""
    found = []
    for group in ("model", "data"):  # a model that names its task is trained for that, whatever the data's is
        found += [o.value for o in request.values() if o.key == f"{group}.task"]
        for where in ("experiment", "recipe", group):
            for name in chosen.get(where, []):
                node = read_yaml(request.tree[where][name])
                node = node.get(group) or {} if where != group else node
                found.append(node.get("task") if isinstance(node, Mapping) else None)
    known = [name for name in request.tree["task"] if name != "auto"]
    return next((task for task in found if isinstance(task, str) and task in known), None)
