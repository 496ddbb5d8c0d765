"""Warnings about the splits and the plan, printed before training on stderr, even with `quiet=true`."""

from collections.abc import Iterator

from dltrain.build.parts import Parts
from dltrain.build.plan import Plan
from dltrain.data.leakage import shared_examples
from dltrain.data.split import NAMES
from dltrain.devices import memory

LARGEST = 256 * 2**20  # bytes of data up to which duplicates are searched for: a tenth of a second
FEW = 5  # examples or classes listed in a warning


def plan_warnings(plan: Plan) -> Iterator[str]:
    """Warn about a warm-up that does not end."""
    if plan.warmup > plan.total:
        share = plan.total / plan.warmup
        yield (
            f"warning: schedule.warmup_steps={plan.warmup}: is longer than the run of {plan.total} steps, so that "
            f"the learning rate comes to {share:.1%} of optim.learning_rate at most"
        )


def data_warnings(parts: Parts) -> Iterator[str]:
    """Warn about classes that are missing from a split, and about examples that are in two splits.

    Examples are compared only if all data is in memory and of moderate size, and is not a text, whose windows may
    well be equal.
    """
    spec = parts.spec
    for split in NAMES if spec.has_labels and spec.counts else ():
        counts = dict(zip(spec.classes, spec.counts[split], strict=True))
        if any(counts.values()) and (missing := [name for name, count in counts.items() if not count]):
            there = f"{len(missing)} of {len(counts)} classes"
            yield f"warning: {split} has no example of {_few(missing)} ({there}; {sum(counts.values())} examples)"
    if parts.arrays is None or memory.size(parts.arrays) > LARGEST or spec.task.examples_may_repeat:
        return
    for (one, other), pairs in shared_examples(parts.arrays, parts.splits).items():
        numbers = _few([f"{second} (as {first})" for first, second in pairs.tolist()])
        what = f"example of {other} is" if len(pairs) == 1 else f"examples of {other} are"
        yield f"warning: {len(pairs)} {what} also in {one}: {numbers}; remove duplicates from the data"


def _few(names: list[str]) -> str:
    return ", ".join(names[:FEW]) + ", ..." * (len(names) > FEW)
