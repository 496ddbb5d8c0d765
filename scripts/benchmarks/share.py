"""Training with logs and checkpoints, without evaluation, relative to a bare loop over the same steps."""

import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import jax_peers
from benchmarks.measure import Setup, Table, per_step, ratios
from benchmarks.nets import chosen, make_program

ROUNDS = 5  # at most, and each longer than those of other sections
LONGER = 4  # times --seconds: a run has epochs, at whose ends it evaluates and saves


def run(table: Table, setup: Setup) -> None:
    """Train whole runs of about the same time for each network, alternating with the bare loop."""
    for net in chosen(setup):
        probe = make_program(net, setup, "steps=1000000")
        bare = jax_peers.bare(probe)
        bare.run(1)
        epoch = probe.parts.pipeline.steps_per_epoch
        fit = 0 if setup.tiny else LONGER * setup.seconds / (epoch * per_step(bare.run))
        epochs = max(1, round(fit))
        program = make_program(net, setup, f"epochs={epochs}")
        warm(program)
        ours, theirs, evaluation = [], [], []
        for _ in range(min(setup.rounds, ROUNDS)):
            _, whole, looking = train_once(program)
            evaluation.append(looking)
            ours.append(program.plan.total / (whole - looking))
            began = time.perf_counter()
            done = bare.run(program.plan.total)
            theirs.append(done / (time.perf_counter() - began))
        table.add("share", net.title, f"training, {epochs} epochs", "steps/s", ours)
        table.add("share", net.title, "bare lax.scan", "steps/s", theirs)
        table.add("share", net.title, "evaluation, not counted", "s", evaluation)
        table.add("ratio", net.title, "training / bare lax.scan", "x", ratios(ours, theirs))


def warm(program: Any) -> None:
    """Compile everything that a run calls, so that only execution is timed."""
    state = program.start()
    state, _ = program.chunk(state, program.data, program.feed_chunk(0, 1), np.int32(1))
    for split in program.plan.splits:
        program.evaluate(state, split)


def train_once(program: Any) -> tuple[Any, float, float]:
    """Train one run in a new folder: its result, its seconds, and those of its evaluations."""
    from dltrain.report.console import Screen
    from dltrain.report.live import LiveReport
    from dltrain.runs.folder import claim
    from dltrain.trainer import train

    looking, evaluate = 0.0, type(program).evaluate

    def timed(state: Any, split: str) -> Any:
        nonlocal looking
        jax.block_until_ready(state)
        began = time.perf_counter()
        found = evaluate(program, state, split)
        looking += time.perf_counter() - began
        return found

    program.evaluate = timed
    with tempfile.TemporaryDirectory(prefix="dltrain-bench-") as scratch:
        folder = claim(Path(scratch) / "run", name="bench", overwrite=False)
        began = time.perf_counter()
        trained = train(program, folder, LiveReport(program, folder, Screen(quiet=True)))
        trained.recorder.close()
        whole = time.perf_counter() - began
        folder.release()
    return trained, whole, looking
