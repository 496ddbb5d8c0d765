"""Warnings about the splits and the plan, printed before training on stderr, even with `quiet=true`."""

from collections.abc import Iterator

import numpy as np

from dltrain.build.parts import Parts
from dltrain.build.plan import Plan
from dltrain.data.leakage import PAIRS, equal_in_groups, shared_examples
from dltrain.data.preprocess.offset import BLOCK, moments_of
from dltrain.data.split import NAMES
from dltrain.devices import memory
from dltrain.tree import flattened

LARGEST = 256 * 2**20  # bytes of data up to which duplicates are searched for: a tenth of a second
FEW = 5  # examples or classes listed in a warning


def plan_warnings(plan: Plan) -> Iterator[str]:
    """Warn about a warm-up that does not end."""
    if plan.warmup > plan.total:
        share = plan.total / plan.warmup
        yield (
            f"warning: schedule.warmup_steps={plan.warmup}: is longer than the run of {plan.total} steps, so that "
            f"the learning rate reaches at most {share:.1%} of optim.learning_rate"
        )


def data_warnings(parts: Parts) -> Iterator[str]:
    """Warn about classes missing from a split, columns that float32 cannot resolve, and examples in two splits.

    Examples are compared only if all data is in memory and of moderate size, and is not a text, whose windows may
    well be equal.
    """
    spec = parts.spec
    for split in NAMES if spec.has_labels and spec.counts else ():
        counts = dict(zip(spec.classes, spec.counts[split], strict=True))
        if any(counts.values()) and (missing := [name for name, count in counts.items() if not count]):
            there = f"{len(missing)} of {len(counts)} classes"
            yield f"warning: {split} has no example of {_few(missing)} ({there}; {sum(counts.values())} examples)"
    yield from _coarse(parts)
    yield from _divided_groups(parts)
    if parts.arrays is None or memory.size(parts.arrays) > LARGEST or spec.task.examples_may_repeat:
        return
    for (one, other), pairs in shared_examples(parts.arrays, parts.splits).items():
        numbers = _few([f"{second} (as {first})" for first, second in pairs.tolist()])
        what = f"example of {other} is" if len(pairs) == 1 else f"examples of {other} are"
        yield f"warning: {len(pairs)} {what} also in {one}: {numbers}; remove duplicates from the data"


def _divided_groups(parts: Parts) -> Iterator[str]:
    """Warn about groups that fixed splits divide, and about equal examples of different groups."""
    if parts.groups is None:
        return
    for one, other in PAIRS:
        shared = np.intersect1d(parts.groups[parts.splits[one]], parts.groups[parts.splits[other]])
        if len(shared):
            yield (
                f"warning: {len(shared)} groups of {other} are also in {one}, since one of these splits is fixed; "
                "remove them from the data"
            )
    if parts.arrays is None or memory.size(parts.arrays) > LARGEST:
        return
    if len(pairs := equal_in_groups(parts.arrays, parts.groups)):
        numbers = _few([f"{second} (as {first})" for first, second in pairs.tolist()])
        yield f"warning: {len(pairs)} examples equal one of another group: {numbers}; remove duplicates"


def _coarse(parts: Parts) -> Iterator[str]:
    """Warn about float64 columns that lose their differences in float32; streamed data is judged by a part."""
    if all(feature.dtype != "float64" for feature in flattened(parts.source.spec.layout()).values()):
        return
    arrays = parts.arrays or parts.source.read(parts.splits.train[:BLOCK])
    features = flattened(parts.spec.layout())
    for part, array in flattened(dict(arrays)).items():
        if array.dtype != np.float64:
            continue
        moments = moments_of(array)
        for column in np.flatnonzero(moments.is_coarse):
            names = features[part].names if part in features else ()
            name = f" column {names[column] if column < len(names) else column}" if array.ndim > 1 else ""
            low, high, step = moments.low[column], moments.high[column], moments.float32_step[column]
            yield (
                f"warning: data: {part}{name}: float32 cannot tell its values from {low:.10g} to {high:.10g} apart "
                f"(they become multiples of {step:g}); subtract an offset from the data"
            )


def _few(names: list[str]) -> str:
    return ", ".join(names[:FEW]) + ", ..." * (len(names) > FEW)
