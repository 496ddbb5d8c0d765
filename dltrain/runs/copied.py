"""A finished run copied into another folder, where it is a run like any other and needs its source no more."""

import json
from collections.abc import Mapping
from typing import Any

from dltrain.runs import checkpoint
from dltrain.runs.arrays import ARRAYS
from dltrain.runs.checkpoint import DRAFT, MANIFEST, SEAL
from dltrain.runs.folder import RunFolder
from dltrain.runs.history import read_history
from dltrain.runs.readers import kept
from dltrain.runs.restore import is_of_another_run, missing_newest
from dltrain.runs.tensorboard import with_hparams

KNOWN = "known"
"""In the record of how a run was started: the folder that it was copied from, instead of being trained."""

BEFORE = (
    *("environment.json", "data.json", "splits.npz", "bad_rows.csv", "model.json"),
    *("metrics.jsonl", "results.csv", "train.log"),
)
"""Files of a run that are copied before its checkpoints; those that later commands wrote are not copied."""


def find_problem(run: RunFolder, summary: Mapping[str, Any]) -> str:
    """Return what is wrong with the files of a finished run; "" if they are intact.

    Raises:
        CheckpointError: a file cannot be read.
    """
    if missing := missing_newest(run):
        return missing
    steps = checkpoint.steps(run.checkpoints)
    if absent := {summary["best_step"], summary["steps"]} - set(steps):
        return f"the checkpoint of step {min(absent)} is missing"
    for step in steps:
        path = run.checkpoints / checkpoint.name_of(step)
        if wrong := checkpoint.problems(path):
            return f"{path.name}: {wrong[0]}"
        if is_of_another_run(run, checkpoint.read_about(path)):
            return f"{path.name} was written by another run"
    return read_history(run.metrics, extent=summary["metrics_file"]).problem


def copy_run(
    source: RunFolder, target: RunFolder, *, config: str, hparams: Mapping[str, Any], **started: Any
) -> None:
    """Copy a finished run; arrays become hard links where the file system has them.

    The summary comes last: a copy without it is not a finished run. `train.log` says where the run was trained.

    Args:
        source: the run.
        target: the folder, claimed and locked; its label names the run in TensorBoard.
        config: what the copy has as its config, which differs in nothing that decides on results.
        hparams: what TensorBoard shows as its hyperparameters.
        started: how the job of the copy was started, for `RunFolder.write_config`.

    Raises:
        OSError, DltrainError: something cannot be read or written.
    """
    for name in BEFORE:
        if (source.path / name).exists():
            target.files.copy_in(name, source.path / name)
    for path in sorted(source.report.glob("*")):
        if path.is_file():
            (target.files / "report").copy_in(path.name, path)
    for path in sorted(source.tensorboard.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            is_events = path.name.startswith("events.")
            target.events.replace(path.name, with_hparams(content, hparams) if is_events else content)
    for step in checkpoint.steps(source.checkpoints):
        _copy_checkpoint(source, target, step)
    target.files.copy_in("saved.json", source.saved)
    resumed = {key: value for key, value in source.read_started().items() if key == "resumed"}
    target.write_config(config, {**started, **resumed, KNOWN: str(source.path)})
    target.note(f"trained in {source.path}")
    target.files.copy_in("summary.json", source.summary)


def _copy_checkpoint(source: RunFolder, target: RunFolder, step: int) -> None:
    path, files = source.checkpoints / checkpoint.name_of(step), target.files / "checkpoints"
    draft = f"{DRAFT}{step:08d}"
    files.remove_tree(draft)
    with kept(path / MANIFEST):
        for name in json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]:
            parent, _, last = name.rpartition("/")
            inside = files / draft / parent if parent else files / draft
            inside.copy_in(last, path / name, linked=name.partition("/")[0] == ARRAYS)
            inside.sync()
        for name in (MANIFEST, SEAL):
            (files / draft).copy_in(name, path / name)
    (files / draft).sync()
    files.rename(draft, checkpoint.name_of(step))
    files.sync()
