"""MODEL_CARD.md: what a model is, in the sections of a model card of Hugging Face.

Mitchell et al. (2019): Model Cards for Model Reporting. A card is written from facts; people add the rest, so one
that was edited is kept.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dltrain.inference.card import counted, number
from dltrain.inference.record import Record
from dltrain.report.facts import class_counts, commands, evaluated_split, interval_of, limitations, requirements

NAME = "MODEL_CARD.md"
SIGNED = re.compile(r"\n<!-- dltrain report: ([0-9a-f]{64}) -->\n$")
TAGS = {  # task and kind of the first input -> pipeline tag; "": any other kind
    "classification": {
        "image": "image-classification",
        "tokens": "text-classification",
        "ngrams": "text-classification",
        "numbers": "tabular-classification",
        "categories": "tabular-classification",
    },
    "regression": {"numbers": "tabular-regression", "categories": "tabular-regression"},
    "forecasting": {"": "time-series-forecasting"},
    "segmentation": {"": "image-segmentation"},
    "language": {"": "text-generation"},
    "generation": {"image": "image-to-text", "tokens": "translation"},
    "adversarial": {"": "unconditional-image-generation"},
}
SAME = {
    "binary": "classification",
    "multilabel": "classification",
    "ordinal": "classification",
    "count": "regression",
}
GENERATING = ("adversarial", "energy", "generation", "language")  # tasks of models that predict nothing
OF_PIXELS = ("segmentation", "reconstruction")  # tasks whose predictions are no columns
FEW = 20  # names of classes or columns


def write_card(record: Record) -> Path | None:
    """Write the card into the run folder; if somebody edited the one that is there, keep it and return None."""
    path = record.path / NAME
    if path.is_file() and not is_as_written(path.read_text(encoding="utf-8", errors="replace")):
        return None
    record.folder.files.replace_text(NAME, signed(card(record)))
    return path


def signed(text: str) -> str:
    """Add the checksum of a card as its last line."""
    return f"{text}\n<!-- dltrain report: {_digest(text)} -->\n"


def is_as_written(text: str) -> bool:
    """Tell whether a card is as `signed` returned it."""
    found = SIGNED.search(text)
    return bool(found) and found[1] == _digest(text[: found.start()])


def card(record: Record) -> str:
    """Return the card as Markdown."""
    header = yaml.safe_dump(metadata(record), sort_keys=False, allow_unicode=True)
    sections = [
        f"---\n{header}---\n",
        f"# {plain(record.title)}\n",
        *(f"> {plain(note)}\n" for note in record.notes),
        _about(record),
        _use(record),
        "## Limitations\n\n" + "\n".join(f"- {plain(line)}" for line in limitations(record)) + "\n",
        _data(record),
        _training(record),
        _results(record),
        _environment(record),
        _reproduce(record),
    ]
    return "\n".join(sections)


def metadata(record: Record) -> dict[str, Any]:
    """Return the YAML header: library, tags, and results as Hugging Face's `model-index`."""
    tag, split = pipeline_tag(record), evaluated_split(record)
    chosen = record.choices
    names = [name for name, value in record.best(split or "").items() if "/" not in name and value is not None]
    found: dict[str, Any] = {"library_name": "dltrain", "tags": ["dltrain", *_known(chosen.get("model"))]}
    found |= {"pipeline_tag": tag} if tag else {}
    if split and names:
        data = chosen.get("data", "data")
        found["metrics"] = names
        result = {
            "task": {"type": tag or chosen.get("task", "other")},
            "dataset": {"name": data, "type": data, "split": split},
            "metrics": [{"type": name, "value": record.best(split)[name]} for name in names],
        }
        found["model-index"] = [{"name": record.title, "results": [result]}]
    return found


def pipeline_tag(record: Record) -> str | None:
    """Return Hugging Face's name of the task; None if there is none that fits."""
    task = record.choices.get("task", "")
    kinds = [str(f.get("kind")) for f in record.model.get("spec", {}).get("inputs", {}).values()]
    tags = TAGS.get(SAME.get(task, task), {})
    return tags.get("") or next((tags[kind] for kind in kinds if kind in tags), None)


def plain(text: object) -> str:
    """Write a text so that Markdown shows it as it is, on one line."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~#!])", r"\\\1", line)


def fenced(text: str, language: str = "") -> str:
    """Put a text into a code block that nothing in it can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table; numbers are aligned to the right."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)]]
    text = [f"| {' | '.join(line)} |" for line in lines[1:]]
    made = [f"| {' | '.join(plain(cell) for cell in row)} |" for row in (headings, *rows)]
    return "\n".join([made[0], *text, *made[1:]]) + "\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _known(name: str | None) -> list[str]:
    return [name] if name else []


def _about(record: Record) -> str:
    chosen, summary = record.choices, record.summary
    size = summary.get("parameters")
    lines = [
        f"- Model: {plain(chosen.get('model', 'unknown'))}" + (f", {size:,} parameters" if size else ""),
        f"- Task: {plain(chosen.get('task', 'unknown'))}",
        f"- Trained on: {plain(record.data_name)}",
        "- License: not stated. Add yours, and check that of the data.",
    ]
    return "## Model\n\n" + "\n".join(lines) + "\n"


def _use(record: Record) -> str:
    task, new = record.choices.get("task"), ""
    lines, python = ["dltrain evaluate RUN split=test"], 'import dltrain\n\nrun = dltrain.open_run("RUN")\n'
    if task in GENERATING:
        lines, python = [*lines, "dltrain generate RUN"], f"{python}outputs = run.outputs(inputs)"
    else:
        ending, new = "npz" if task in OF_PIXELS else "csv", ", and NEW a file or folder of new examples"
        lines = [*lines, f"dltrain predict RUN input=NEW output=predictions.{ending}"]
        python = f"{python}predictions = run.predict(inputs)"
    return (
        f"## How to use\n\nRUN is the folder of the run{new}.\n\n"
        f"{fenced(chr(10).join([*lines, 'dltrain report RUN']), 'bash')}\n{fenced(python, 'python')}\n"
        "Use it for inputs like those of its training. Add what it is meant for, and what it is not for.\n"
    )


def _data(record: Record) -> str:
    node, (names, counts) = record.config.get("data", {}), class_counts(record)
    lines = [f"- Data: {plain(record.data_name)}"]
    lines += [f"- Files: {plain(node['path'])}"] if node.get("path") else []
    lines += [f"- Examples: {counted(record.data['examples'])}"] if record.data.get("examples") else []
    lines += [f"- Split: {plain(node.get('split'))}, seed of the split {plain(node.get('split_seed'))}"]
    lines += (
        [f"- SHA-256 fingerprint: `{plain(record.data['fingerprint'])}`"] if record.data.get("fingerprint") else []
    )
    for role in ("inputs", "targets"):
        for name, feature in record.model.get("spec", {}).get(role, {}).items():
            listed = list(feature.get("names") or ())
            columns = f": {plain(', '.join(map(str, listed[:FEW])))}" if listed else ""
            more = f" and {len(listed) - FEW} more" if len(listed) > FEW else ""
            what = f"{role.removesuffix('s').capitalize()} {plain(name)} ({plain(feature.get('kind', ''))})"
            lines.append(f"- {what}{columns}{more}")
    text = "## Data\n\n" + "\n".join(lines) + "\n"
    if not names or not counts:
        return text
    rows = [[name, *(f"{of[i]:,}" for of in counts.values() if i < len(of))] for i, name in enumerate(names[:FEW])]
    more = f"\n... and {len(names) - FEW} more classes\n" if len(names) > FEW else ""
    return f"{text}\n{grid(['class', *counts], rows)}{more}"


def _training(record: Record) -> str:
    chosen, config, summary = record.choices, record.config, record.summary
    rate = config.get("optim", {}).get("learning_rate")
    lines = [
        f"- Loss: {plain(chosen.get('loss', 'unknown'))}",
        f"- Optimizer: {plain(chosen.get('optim', 'unknown'))}, learning rate {plain(rate)}",
        f"- Schedule: {plain(chosen.get('schedule', 'unknown'))}",
        f"- Augmentation: {plain(chosen.get('augment', 'none'))}",
        f"- Batch size: {plain(config.get('batch_size'))}",
        f"- Seed: {plain(config.get('seed'))}",
    ]
    if summary:
        epochs = f" ({summary['epochs']:.4g} epochs)" if "epochs" in summary else ""
        lines.append(f"- Length: {record.steps:,} steps{epochs}, {summary.get('seconds', 0):,.1f} s")
        lines.append(f"- Stopped because: {plain(summary.get('stop_reason', ''))}")
    if summary.get("monitor"):
        how = "highest" if record.higher_is_better else "lowest"
        lines.append(f"- Best state: step {summary['best_step']:,}, the {how} {plain(summary['monitor'])}")
    return "## Training\n\n" + "\n".join(lines) + "\n"


def _results(record: Record) -> str:
    """Write the metrics of the best state with those of the baselines on the same split, one line each."""
    rows = []
    for split in ("test", "validation"):
        baselines = record.summary.get("baselines", {}).get(split, {})
        for name, value in record.best(split).items():
            if "/" not in name:
                interval = interval_of(record, split, name)
                between = f"{number(interval[0])} to {number(interval[1])}" if interval else ""
                others = "; ".join(f"{who} {number(m[name])}" for who, m in baselines.items() if name in m)
                rows.append([f"{split} {name}", number(value), between, others])
    if not rows:
        return "## Results\n\nThere are no final results yet.\n"
    return f"## Results\n\nOf the best state.\n\n{grid(['metric', 'value', '95 % interval', 'baselines'], rows)}"


def _environment(record: Record) -> str:
    found = record.environment
    devices = ", ".join(map(str, found.get("devices", ())))
    python = found.get("versions", {}).get("python")
    lines = [f"- Devices: {plain(devices)}"] if devices else []
    lines += [f"- Machine: {plain(found['host'])}, {plain(found.get('cores'))} cores"] if found.get("host") else []
    lines += [f"- Python {plain(python)}"] if python else []
    pinned = fenced("\n".join(requirements(record)), "text") if requirements(record) else ""
    return "## Environment\n\n" + "\n".join(lines) + f"\n\n{pinned}"


def _reproduce(record: Record) -> str:
    lines = commands(record)
    if not lines:
        return "## Reproduce\n\nThe folder does not say how the run was started.\n"
    told = record.environment.get("git")
    commit = f"The folder in which it was started was at git commit `{plain(told)}`.\n\n" if told else ""
    end = record.summary.get("hash")
    check = (
        f"\nThe same machine and versions end with this hash (`dltrain hash RUN`): `{plain(end)}`\n" if end else ""
    )
    return f"## Reproduce\n\n{commit}{fenced(chr(10).join(lines), 'bash')}{check}"
