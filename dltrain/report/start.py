"""The words at the start of a run: data, model, and what was chosen automatically."""

import time
from collections.abc import Mapping

import jax
import numpy as np
from rich.table import Table

from dltrain.build.program import Program
from dltrain.data.scan import size_of
from dltrain.data.split import NAMES
from dltrain.devices import memory
from dltrain.devices.runtime import arithmetic
from dltrain.report.console import Screen, complain
from dltrain.report.data_warnings import data_warnings
from dltrain.report.layers import layers
from dltrain.types import SELF_SUPERVISED


def introduce(
    screen: Screen, program: Program, *, choices: Mapping[str, str], automatic: Mapping[str, str]
) -> None:
    """Say what the run is about to do."""
    parts, plan = program.parts, program.plan
    spec, pipeline = parts.spec, parts.pipeline
    rows = ", ".join(f"{len(parts.splits[n])} {n}" for n in NAMES if len(parts.splits[n]))
    shape = "×".join(map(str, spec.input.shape))
    goal = f"{spec.outputs} target{'s' * (spec.outputs > 1)}"
    goal = f"{len(spec.classes)} classes" if spec.classes else goal
    goal = f"{len(spec.vocabulary)} tokens" if spec.vocabulary else goal
    goal = str(spec.task) if spec.task in SELF_SUPERVISED else f"{spec.task}, {goal}"
    screen.say(f"data    {choices.get('data', '')}: {rows}; {shape} {spec.input.dtype}; {goal}")
    if spec.counts and max(spec.counts["train"]) >= 2 * max(1, min(spec.counts["train"])):
        counts = ", ".join(f"{name} {n}" for name, n in zip(spec.classes, spec.counts["train"], strict=True))
        screen.say(f"        classes are not balanced in train: {counts}")
    if parts.preprocess.target_scaling is not None:
        shift, size = parts.preprocess.target_scaling.shift, parts.preprocess.target_scaling.scale
        screen.say(
            f"        targets are standardised (mean {shift[0]:.4g}, deviation {size[0]:.4g}): the loss is in"
        )
        screen.say("        those units, the metrics in the data's own")
    screen.draw(_layer_table(program, choices.get("model", "model")))
    for key, why in automatic.items():
        screen.say(f"{key:<7} {why}; choose with {key}=...")
    if plan.monitor:
        screen.say(f"watched {plan.monitor}, {'higher' if plan.monitor.higher_is_better else 'lower'} is better")
    if named := parts.augment.named:
        rests = f"; off for the last {rest} steps" if (rest := parts.augment.off_for) else ""
        screen.say(f"augment {', '.join(named)}{rests}")
        if rest >= plan.total:
            screen.say(f"warning: augment.off_for: those are all {plan.total} steps of this run", style="yellow")
    if program.averages:
        screen.say(f"means   measured and drawn are {program.averages}; training goes on from the weights")
    for rule in parts.rules:
        screen.say(f"rule    {rule.match}: {', '.join(rule.matched(program.shapes.params))}")
    screen.say(f"run     {plan.total} steps of {pipeline.batch_size} rows, {pipeline.steps_per_epoch} an epoch")
    many = f", {program.layout.devices} devices ({program.layout})" if program.layout else ""
    screen.say(f"numbers {plan.precision}, {arithmetic()}{many}")
    used, there = program.layout.devices if program.layout else 1, jax.local_device_count()
    if plan.mesh == "auto" and used < there:
        screen.say(f"        {used} of {there} devices are used: a batch does not divide by more")
    where = f"is read ahead by {plan.read_threads} threads" if parts.arrays is None else "stays on the device"
    screen.say(f"feed    the data ({size_of(parts.source) / 2**20:.1f} MiB) {where}; choose with data.feed=...")
    for line in data_warnings(parts):
        complain(line)


def _layer_table(program: Program, title: str) -> Table:
    table = Table(title=f"model {title}", title_justify="left", box=None, pad_edge=False, title_style="bold")
    for column, side in (
        ("layer", "left"),
        ("kind", "left"),
        ("output", "left"),
        ("parameters", "right"),
        ("FLOPs", "right"),
    ):
        table.add_column(column, justify=side)
    found = layers(program.parts.make_model, program.parts.spec)
    for layer in found:
        shape = "×".join(map(str, layer.output)) or "1"
        table.add_row(layer.name, layer.kind, shape, f"{layer.parameters:,}", f"{layer.flops:,}")
    parameters, flops = (int(np.sum([getattr(layer, n) for layer in found])) for n in ("parameters", "flops"))
    table.add_row("total", "", "", f"{parameters:,}", f"{flops:,}", style="bold")
    return table


def prepare(screen: Screen, program: Program) -> None:
    """Compile the training step, and say what memory it will take; raises MemoryExhausted if that is not there."""
    began = time.monotonic()
    need = program.compile()
    count = program.parts.accumulate
    pieces = f" in {count} pieces" if count > 1 else ""
    took = f"compiled in {time.monotonic() - began:.1f} s"
    screen.say(f"memory  {memory.shown(need)}: {program.memory_summary}, the rest for the step{pieces}; {took}")
