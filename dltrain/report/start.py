"""What is printed at the start of a run: data, model, and what was chosen automatically."""

import time
from collections.abc import Mapping

import jax
import numpy as np

from dltrain.build.compiling import compile_training, summarise_memory
from dltrain.build.parts import Parts
from dltrain.build.program import Program
from dltrain.data.description import Description
from dltrain.data.scan import size_of
from dltrain.data.split import NAMES
from dltrain.devices import memory
from dltrain.devices.runtime import arithmetic
from dltrain.report.console import Screen, print_warning
from dltrain.report.data_warnings import data_warnings, plan_warnings
from dltrain.report.layers import layers
from dltrain.report.width import Column

MOST_COLUMNS = 40  # of a table that are listed


def introduce(
    screen: Screen, program: Program, *, choices: Mapping[str, str], automatic: Mapping[str, str]
) -> None:
    """Print what the run is about to do: data, model, choices, length of training, and devices."""
    _introduce_data(screen, program.parts, choices.get("data", ""))
    _introduce_files(screen, program.parts.description)
    _introduce_model(screen, program, choices.get("model", "model"))
    for key, why in automatic.items():
        screen.say(f"{key:<7} {why}; choose with {key}=...")
    _introduce_training(screen, program, recipe=choices.get("recipe", "none") not in ("auto", "none"))
    _introduce_devices(screen, program)
    for line in (*data_warnings(program.parts), *plan_warnings(program.plan), *program.plan.warnings):
        print_warning(line)


def _introduce_data(screen: Screen, parts: Parts, name: str) -> None:
    spec = parts.spec
    sizes = ", ".join(f"{len(parts.splits[n])} {n}" for n in NAMES if len(parts.splits[n]))
    several = len(spec.contents) > 1
    inputs = ", ".join(
        f"{f'{input_name} ' if several else ''}{'×'.join(map(str, feature.shape)) or '1'} {feature.dtype}"
        for input_name, feature in spec.contents.items()
    )
    goal = f"{spec.outputs} target{'s' * (spec.outputs > 1)}"
    goal = f"{len(spec.classes)} classes" if spec.classes else goal
    goal = f"{len(spec.vocabulary)} tokens" if spec.vocabulary and not spec.classes else goal
    goal = f"{spec.task}" if not spec.task.supervised else f"{spec.task}, {goal}"
    screen.say(f"data    {name}: {sizes}; {inputs}; {goal}")
    for note in getattr(parts.source, "notes", ()):
        screen.say(f"        {note}")
    if spec.counts and max(spec.counts["train"]) >= 2 * max(1, min(spec.counts["train"])):
        counts = ", ".join(f"{name}: {n}" for name, n in zip(spec.classes, spec.counts["train"], strict=True))
        screen.say(f"        classes are imbalanced in train: {counts}")
    if parts.preprocess.target_scaling is not None:
        shift, size = parts.preprocess.target_scaling.shift, parts.preprocess.target_scaling.scale
        screen.say(f"        targets are standardised (mean {shift[0]:.4g}, standard deviation {size[0]:.4g}):")
        screen.say("        the loss is in these units, the metrics are in the units of the data")


def _introduce_files(screen: Screen, found: Description | None) -> None:
    """Print what a source found in its files, such as the meaning of each column."""
    if found is None:
        return
    for note in found.notes:
        screen.say(f"        {note}")
    if found.rows:
        titles = enumerate(found.headings)
        columns = [Column(title, wraps=i == 2, right=i > 2, drop=i if i > 1 else 0) for i, title in titles]
        screen.table("columns", columns, found.rows[:MOST_COLUMNS])
    if (more := len(found.rows) - MOST_COLUMNS) > 0:
        screen.say(f"        and {more} more columns, which dltrain inspect lists")


def _introduce_training(screen: Screen, program: Program, *, recipe: bool) -> None:
    parts, plan, per_epoch = program.parts, program.plan, program.parts.pipeline.steps_per_epoch
    if plan.monitor:
        better = "higher" if plan.monitor.higher_is_better else "lower"
        screen.say(f"monitor {plan.monitor}, {better} is better")
    if named := parts.augment.named:
        off = f"; off for the last {parts.augment.off_for} steps" if parts.augment.off_for else ""
        screen.say(f"augment {', '.join(named)}{off}")
        if parts.augment.off_for >= plan.total:
            screen.say(f"warning: augment.off_for covers all {plan.total} steps of this run", style="yellow")
    if program.averages:
        screen.say(f"average evaluation and figures use {program.averages}; training does not")
    for rule in parts.rules:
        if (matched := rule.matched(program.shapes.params)) or not recipe:
            screen.say(f"rule    {rule.match}: {', '.join(matched) or 'matches no parameter'}")
    each = f"{per_epoch} step{'s' * (per_epoch > 1)} per epoch"
    screen.say(f"train   {plan.total} steps of {parts.pipeline.batch_size} examples, {each}")


def _introduce_devices(screen: Screen, program: Program) -> None:
    parts, plan = program.parts, program.plan
    many = f", {program.layout.devices} devices ({program.layout})" if program.layout else ""
    screen.say(f"compute {plan.precision}, {arithmetic()}{many}")
    used, available = program.layout.devices if program.layout else 1, jax.local_device_count()
    if plan.mesh == "auto" and used < available:
        screen.say(f"        uses {used} of {available} devices: the batch size is not divisible by more")
    where = f"is read ahead by {plan.read_threads} threads" if parts.arrays is None else "stays on the device"
    screen.say(f"feed    data ({size_of(parts.source) / 2**20:.1f} MiB) {where}; choose with data.feed=...")


def _introduce_model(screen: Screen, program: Program, title: str) -> None:
    columns = [
        Column("layer"),
        Column("kind", drop=3),
        Column("output", drop=1),
        Column("parameters", right=True),
        Column("FLOPs", right=True, drop=2),
    ]
    found = layers(program.parts.make_model, program.parts.spec)
    rows = [
        (one.name, one.kind, "×".join(map(str, one.output)) or "1", f"{one.parameters:,}", f"{one.flops:,}")
        for one in found
    ]
    parameters, flops = (int(np.sum([getattr(layer, n) for layer in found])) for n in ("parameters", "flops"))
    total = ("total", "", "", f"{parameters:,}", f"{flops:,}")
    screen.table(f"model {title}", columns, [*rows, total], total=True)


def prepare(screen: Screen, program: Program) -> None:
    """Compile the training step, and print how much memory it takes.

    Raises:
        MemoryExhausted: there is not enough.
    """
    began = time.monotonic()
    screen.doing("compiling")
    try:
        need = compile_training(program)
    finally:
        screen.end_live()
    count = program.parts.accumulate
    microbatches = f" in {count} microbatches" if count > 1 else ""
    took = f"compiled in {time.monotonic() - began:.1f} s"
    screen.say(
        f"memory  {memory.shown(need)}: {summarise_memory(program)}, the rest for the step{microbatches}; {took}"
    )
