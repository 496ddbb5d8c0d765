"""What a run was made of: its data, model, training, config and environment, and how to run it again."""

import math
from collections.abc import Mapping
from typing import Any

from dltrain.devices import memory
from dltrain.inference.card import counted
from dltrain.inference.record import Record
from dltrain.report.facts import class_counts, commands, requirements
from dltrain.report.html.page import Markup, element, facts, folded, join, pre, table

FEW = 12  # names in a line
SHOWN = ("devices", "cores", "threads", "memory", "host", "git")  # of the environment; the others name folders
MOST = 400  # arrays or classes that are listed


def data(record: Record) -> Markup:
    """Describe the data: where it came from, its splits, features and classes."""
    node, found = record.config.get("data", {}), record.data
    path = node.get("path") or node.get("root")
    parts = [
        facts([
            ("data", record.choices.get("data", "")),
            ("files", _shown(path)),
            ("examples", counted(found.get("examples", {}))),
            ("task", record.choices.get("task", "")),
            ("scaling", _shown(node.get("scale"))),
            ("split", f"{_shown(node.get('split'))}, split_seed {_shown(node.get('split_seed'))}"),
            ("fingerprint", found.get("fingerprint", "")),
        ]),
        _features(record),
        _classes(record),
    ]  # fmt: skip
    return join(*parts)


def model(record: Record) -> Markup:
    """Describe the model and its training."""
    chosen, summary, config = record.choices, record.summary, record.config
    optim, peak = config.get("optim", {}), summary.get("peak_memory", {})
    size = summary.get("parameters")
    return join(
        facts([
            ("model", chosen.get("model", "")),
            ("parameters", f"{size:,}" if size is not None else ""),
            ("loss", chosen.get("loss", "")),
            ("optimizer", f"{chosen.get('optim', '')}, learning rate {_shown(optim.get('learning_rate'))}"),
            ("schedule", chosen.get("schedule", "")),
            ("augmentation", chosen.get("augment", "")),
            ("batch size", _shown(config.get("batch_size"))),
            ("seed", _shown(config.get("seed"))),
            ("trained", _trained(record)),
            ("stopped because", summary.get("stop_reason", "")),
            ("best state", _best(record)),
            ("peak memory", ", ".join(f"{memory.shown(n)} on the {where}" for where, n in peak.items())),
            ("skipped steps", _steps(summary.get("skipped", ()))),
            ("hash of the state", summary.get("hash", "")),
        ]),
        _arrays(record),
    )  # fmt: skip


def config(record: Record) -> Markup:
    """Show what was typed, what was chosen, and the whole config."""
    words = record.started.get("overrides", [])
    typed = pre("\n".join(words)) if words else element("p", "Nothing was typed: every value is a default.")
    chosen = table(["part", "choice"], [[group, name] for group, name in record.choices.items()], numbers=False)
    known = record.started
    return join(
        element("h3", "What was typed"),
        typed if known else element("p", "overrides.yaml is missing."),
        element("h3", "Parts"),
        chosen,
        folded("config.yaml: every key of the run", pre(record.text)),
    )


def environment(record: Record) -> Markup:
    """Show versions and machine, without the names of folders."""
    found = record.environment
    if not found:
        return element("p", "environment.json is missing.")
    machine = facts([(name, _shown(found[name])) for name in SHOWN if found.get(name)])
    versions = found.get("versions", {})
    return join(machine, table(["package", "version"], [[n, str(v)] for n, v in versions.items()], numbers=False))


def reproduce(record: Record) -> Markup:
    """Say how to train the run again."""
    lines, pinned = commands(record), requirements(record)
    python = record.environment.get("versions", {}).get("python", "")
    told = record.environment.get("git")
    parts = [element("p", f"Install these versions{f' with Python {python}' if python else ''}:")] if pinned else []
    parts += [pre("\n".join(pinned))] if pinned else []
    parts += [element("p", f"The folder in which it was started was at git commit {told}.")] if told else []
    parts += [element("p", "Then, with the same data in the same place:"), pre("\n".join(lines))] if lines else []
    check = [f"fingerprint of the data: {record.data['fingerprint']}"] if record.data.get("fingerprint") else []
    check += [f"dltrain hash RUN:        {record.summary['hash']}"] if record.summary.get("hash") else []
    note = (
        "A run on the same kind of machine, with the same versions and seed, ends with the same hash. On other "
        "hardware, numbers differ in the last digits."
    )
    parts += [element("p", note), pre("\n".join(check))] if check else []
    return join(*parts) if parts else element("p", "The folder does not say how the run was started.")


def _features(record: Record) -> Markup:
    spec = record.model.get("spec", {})
    rows = []
    for role in ("inputs", "targets"):
        for name, feature in spec.get(role, {}).items():
            rows.append([name, role.removesuffix("s"), str(feature.get("kind", "")), *_about(feature)])
    return table(["feature", "role", "kind", "shape", "type", "names"], rows, numbers=False) if rows else Markup()


def _about(feature: Mapping[str, Any]) -> list[str]:
    shape = " × ".join(str(size) for size in feature.get("shape", ())) or "one value"
    names = list(map(str, feature.get("names") or ())) or list(map(str, feature.get("vocabulary") or ()))
    more = f", ... ({len(names):,} names)" if len(names) > FEW else ""
    return [shape, str(feature.get("dtype", "")), ", ".join(names[:FEW]) + more]


def _classes(record: Record) -> Markup:
    """Show how many examples of each class every split has."""
    names, counts = class_counts(record)
    if not names or not counts:
        return Markup()
    rows = [
        [name, *(f"{of[i]:,}" if i < len(of) else "" for of in counts.values())] for i, name in enumerate(names)
    ]
    made = table(["class", *counts], rows[:MOST], "examples of each class")
    return made if len(rows) <= FEW else folded(f"Examples of each of the {len(rows)} classes", made)


def _arrays(record: Record) -> Markup:
    """List the arrays of the parameters, from the manifest of the newest checkpoint."""
    found = {name.removeprefix("params."): a for name, a in record.arrays.items() if name.startswith("params.")}
    if not found:
        return Markup()
    rows = [
        [name, " × ".join(map(str, shape)) or "one value", dtype, f"{math.prod(shape):,}"]
        for name, (dtype, shape) in list(found.items())[:MOST]
    ]
    title = f"{len(found)} arrays of parameters"
    return folded(title, table(["array", "shape", "type", "numbers"], rows))


def _trained(record: Record) -> str:
    summary = record.summary
    if not summary:
        return f"{record.steps:,} steps so far"
    speed = f", {summary['examples_per_second']:,.0f} examples/s" if "examples_per_second" in summary else ""
    epochs = f" ({summary['epochs']:.4g} epochs)" if "epochs" in summary else ""
    return f"{record.steps:,} steps{epochs} in {summary.get('seconds', 0):,.1f} s{speed}"


def _best(record: Record) -> str:
    step, monitor = record.summary.get("best_step"), record.summary.get("monitor")
    if step is None:
        return ""
    how = f": the {'highest' if record.higher_is_better else 'lowest'} {monitor}" if monitor else ""
    return f"step {step:,}{how}"


def _steps(steps: Any) -> str:
    few = ", ".join(str(step) for step in steps[:FEW])
    return f"{len(steps)}: {few}{', ...' if len(steps) > FEW else ''}" if steps else ""


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
