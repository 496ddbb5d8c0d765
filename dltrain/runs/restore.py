"""Reads a run's best, last or any other checkpoint, as named arrays or as a `TrainState`."""

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from dltrain.engine.state import ROLLBACKS, TrainState, from_named
from dltrain.errors import CheckpointError
from dltrain.runs import checkpoint
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
        return checkpoint.load_last(folder.files / "checkpoints", warn=warn, mend=folder.locked)
    if which not in (saved := checkpoint.steps(folder.checkpoints)):
        raise CheckpointError(
            f"checkpoint={which}: {folder.path} has checkpoints of the steps {', '.join(map(str, saved))}"
        )
    return checkpoint.load(folder.checkpoints, int(which))


def load_best(folder: RunFolder, *, warn: Warn) -> Checkpoint:
    """Read the checkpoint with the best monitored metric; the last one if nothing is monitored.

    Raises:
        CheckpointError: it is damaged. The last one is a different model, so it does not replace it.
    """
    place = folder.files / "checkpoints"
    while True:
        last = checkpoint.load_last(place, warn=warn, mend=folder.locked)
        best = last.meta["best"]
        if best in (None, last.step):
            return last
        if found := checkpoint.load_if_whole(place, best, warn=warn, mend=folder.locked):
            return found
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

    A scale that a plateau has lowered is kept, and so is the length of schedules, unless `stretch`.
    """
    state = from_named(fresh, start.leaves, what=f"checkpoint of step {start.step}")
    names = ("scale",) if stretch else ("scale", "total_steps")
    kept = {name: state.hparams[name] for name in names if name in state.hparams}
    steps = np.zeros(ROLLBACKS, np.int32)
    steps[: len(left_out)] = left_out
    return replace(state, hparams={**fresh.hparams, **kept}, left_out=jnp.asarray(steps))
