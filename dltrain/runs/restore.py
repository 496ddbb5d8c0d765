"""Reads a run's best, last or any other checkpoint, as named arrays or as a `TrainState`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding

from dltrain.devices import hosts
from dltrain.devices.mesh import send
from dltrain.engine.state import ROLLBACKS, TrainState, from_named, named_leaves
from dltrain.errors import CheckpointError
from dltrain.runs import checkpoint
from dltrain.runs.arrays import SavedArrays
from dltrain.runs.checkpoint import Checkpoint
from dltrain.runs.folder import RunFolder

Warn = Callable[[str], None]  # receives the warning about a damaged checkpoint that was moved aside


def load_checkpoint(folder: RunFolder, which: str | int, *, warn: Warn) -> Checkpoint:
    """Verify and read a checkpoint of a run; `which` is best, last, or a step.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    if which == "best":
        return load_best(folder, warn=warn)
    if which == "last":
        return load_newest(folder, warn=warn)
    if which not in (saved := checkpoint.steps(folder.checkpoints)):
        raise CheckpointError(
            f"checkpoint={which}: {folder.path} has checkpoints of the steps {', '.join(map(str, saved))}"
        )
    return _of_this_run(folder, checkpoint.load(folder.checkpoints, int(which)), warn=warn)


def load_newest(folder: RunFolder, *, warn: Warn) -> Checkpoint:
    """Read the newest intact checkpoint; `warn` is told of damaged ones, and of one that is missing.

    Raises:
        CheckpointError: there is none, or it was written by another run.
    """
    if missing := missing_newest(folder):
        warn(missing)
    last = checkpoint.load_last(folder.files / "checkpoints", warn=warn, mend=folder.locked)
    return _of_this_run(folder, last, warn=warn)


def load_together(folder: RunFolder, *, shared: bool, warn: Warn) -> Checkpoint:
    """Open the newest intact checkpoint in every process; `with_parts` reads what each of them needs.

    If all see the same folder (`shared`), each verifies a part of the files. Else each verifies its own copy.

    Raises:
        CheckpointError: there is none, or a process has a damaged copy.
    """
    if hosts.count() == 1:
        return load_newest(folder, warn=warn)
    if hosts.leads() and (missing := missing_newest(folder)):
        warn(missing)
    part = {"part": hosts.index(), "parts": hosts.count()} if shared else {}
    damaged: set[int] = set()
    while True:
        left = [step for step in checkpoint.steps(folder.checkpoints) if step not in damaged]
        step = hosts.agree(left[-1] if left else None, "checkpoint to resume from")
        if step is None:
            raise CheckpointError(f"{folder.checkpoints} has no usable checkpoint; training was not restarted")
        path = folder.checkpoints / checkpoint.name_of(step)
        found = hosts.gather(checkpoint.problems(path, **part)[:3], "verification of a checkpoint")
        if not any(found):
            return _of_this_run(folder, checkpoint.opened(path, step), warn=warn)
        rank = next(index for index, wrong in enumerate(found) if wrong)
        if rank and not shared:
            raise CheckpointError(f"checkpoint {path} of process {rank} is damaged: {'; '.join(found[rank])}")
        damaged.add(step)
        if hosts.leads():
            files = folder.files / "checkpoints"
            checkpoint.report_damage(files, step, found[rank][0], warn=warn, mend=folder.locked)


def with_parts(start: Checkpoint, wanted: Mapping[str, tuple[tuple[int, ...], Sharding]]) -> Checkpoint:
    """Read what the devices of this process need, if the checkpoint was only opened.

    `wanted` has shape and sharding of each array. Arrays that are divided become `jax.Array`s of all processes.
    """
    saved = start.leaves
    return replace(start, leaves=saved.parts(wanted)) if isinstance(saved, SavedArrays) else start


def load_again(folder: RunFolder, step: int | None, like: TrainState, *, warn: Warn) -> Checkpoint:
    """Read a checkpoint of the run that trains: that of `step`, or the newest intact one.

    Of several processes, process 0 looks and verifies. If all see its folder, each of them opens the checkpoint
    (`with_parts`); else process 0 sends the arrays, whose shapes are those of `like`.
    """
    place = folder.files / "checkpoints"
    if hosts.count() == 1:
        return checkpoint.load_last(place, warn=warn, mend=True) if step is None else checkpoint.load(place, step)
    if hosts.leads() and step is None:
        step = checkpoint.load_last(place, warn=warn, mend=True, read=checkpoint.opened).step
    number = hosts.agree(step or 0, "checkpoint to read again")
    path = hosts.agree(str(folder.checkpoints.absolute()), "folder of checkpoints")
    if folder.shared:
        return checkpoint.opened(Path(path) / checkpoint.name_of(number), number)
    found = checkpoint.load(place, number) if hosts.leads() else None
    zeros = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in named_leaves(like).items()}
    leaves = send(dict(found.leaves) if found else zeros)
    return Checkpoint(number, leaves, hosts.agree(dict(found.meta) if found else {}, "state of callbacks"))


def missing_newest(folder: RunFolder) -> str:
    """Return the warning that the newest checkpoint that was written is gone; "" if it is there."""
    try:
        newest = folder.newest_saved()  # first: a process that trains meanwhile writes it before it prunes
    except CheckpointError as error:
        return f"{error}; whether a checkpoint is missing is not known"
    there = checkpoint.steps(folder.checkpoints)
    if not newest or (there and there[-1] >= newest):
        return ""
    left = f"the newest that is left is of step {there[-1]}" if there else "none is left"
    return f"the newest checkpoint of {folder.path}, of step {newest}, is missing; {left}"


def is_of_another_run(folder: RunFolder, about: Mapping[str, Any]) -> bool:
    """Tell whether a checkpoint with this description was written by another run.

    Raises:
        CheckpointError: model.json, which has the id of the run, is missing or damaged.
    """
    mine, theirs = folder.run_id() if folder.model.exists() or "run" in about else None, about.get("run")
    return mine is not None and mine != theirs


def _of_this_run(folder: RunFolder, found: Checkpoint, *, warn: Warn) -> Checkpoint:
    try:
        of_another = is_of_another_run(folder, found.about)
    except CheckpointError as error:
        warn(f"{error}; whether the checkpoint of step {found.step} is of this run is not known")
        of_another = False
    if of_another:
        path = folder.checkpoints / checkpoint.name_of(found.step)
        raise CheckpointError(
            f"{path} was written by another run than {folder.model}; "
            "put back what belongs to this run, or delete the checkpoint to use an older one"
        )
    return found


def load_best(folder: RunFolder, *, warn: Warn) -> Checkpoint:
    """Read the checkpoint with the best monitored metric; the last one if nothing is monitored.

    Raises:
        CheckpointError: it is damaged. The last one is a different model, so it does not replace it.
    """
    place = folder.files / "checkpoints"
    while True:
        last = load_newest(folder, warn=warn)
        best = last.meta["best"]
        if best in (None, last.step):
            return last
        if found := checkpoint.load_if_whole(place, best, warn=warn, mend=folder.locked):
            return _of_this_run(folder, found, warn=warn)
        pruned = not (folder.checkpoints / checkpoint.name_of(best)).exists()
        if not (pruned and checkpoint.steps(place)[-1:] > [last.step]):  # else the run has a better one now
            raise CheckpointError(
                f"the best checkpoint, of step {best}, is damaged or missing; the last one, of step {last.step}, "
                f"is intact: use it with checkpoint=last, or continue training with {folder.command('resume')}"
            )


def load_state(folder: RunFolder, which: str | int, shapes: TrainState, *, warn: Warn) -> tuple[TrainState, int]:
    """Return the state of a run's checkpoint, and its step; `shapes` is a state of the same structure.

    The arrays are on the host: `Program.place` moves them to the run's devices.
    """
    found = load_checkpoint(folder, which, warn=warn)
    return from_named(shapes, found.leaves, what=f"checkpoint of step {found.step}"), found.step


def steps_left_out(start: Checkpoint) -> list[int]:
    """List the steps that rollbacks before this checkpoint left out."""
    return [int(step) for step in start.leaves["left_out"] if step]


def resumed_state(fresh: TrainState, start: Checkpoint, left_out: list[int], *, stretch: bool) -> TrainState:
    """Return the saved state with the hyperparameters of today's config, taken from `fresh`.

    A scale that a plateau has lowered is kept, and so is the length of schedules, unless `stretch`. A number that
    training has changed itself is kept as well, unless the config has another value for it than at that time.
    """
    state = from_named(fresh, start.leaves, what=f"checkpoint of step {start.step}")
    names = ("scale",) if stretch else ("scale", "total_steps")
    before = start.meta["callbacks"].get("numbers") or {}
    same = [
        name for name, value in before.items() if np.float32(value) == np.float32(fresh.hparams.get(name, np.nan))
    ]
    kept = {name: state.hparams[name] for name in (*names, *same) if name in state.hparams}
    steps = np.zeros(ROLLBACKS, np.int32)
    steps[: len(left_out)] = left_out
    return replace(state, hparams={**fresh.hparams, **kept}, left_out=jnp.asarray(steps))
