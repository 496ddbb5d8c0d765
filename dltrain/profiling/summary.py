"""Summarises as text where the time of the recorded steps went."""

import shlex
from collections import defaultdict

from dltrain.callbacks.profile import Recorded
from dltrain.profiling.trace import Operation, Trace, read_trace
from dltrain.runs.folder import RunFolder

PROGRAM = "jit_chunk"  # the name of the compiled `engine.chunk`
MOST_EXPENSIVE = 10


def summarize(recorded: Recorded, folder: RunFolder) -> list[str]:
    """Return the summary of a trace as lines, the result in the first three."""
    try:
        trace = read_trace(recorded.file, program=PROGRAM)
    except ValueError as error:
        return [f"profile     {error}"]
    steps = recorded.last - recorded.first + 1
    total = sum(operation.seconds for operation in trace.operations) or 1e-9
    kinds = _by_kind(trace)
    top = ", ".join(f"{kind} {seconds / total:.0%}" for kind, seconds, _ in kinds[:4])
    return [
        f"profile     steps {recorded.first} to {recorded.last}: {steps} steps in {trace.seconds:.3f} s,"
        f" {1e3 * trace.seconds / steps:.3f} ms per step",
        f"            device busy {trace.busy / trace.seconds:.1%} of the time, waiting for the host otherwise",
        f"            self time: {top}",
        "",
        "Self time excludes nested operations. On a CPU it is summed over threads, and work that an operation",
        "passes to other threads of the pool is not counted.",
        "",
        f"{'kind':<22}{'self time':>10}{'share':>9}{'ms/step':>11}{'runs/step':>13}",
        *(
            f"{kind:<22}{time:>8.3f} s{time / total:>9.1%}{1e3 * time / steps:>11.4f}{count / steps:>13.1f}"
            for kind, time, count in kinds
        ),
        "",
        f"The {MOST_EXPENSIVE} most expensive operations of training",
        f"{'share':>6}{'ms/step':>11}{'runs/step':>13}  {'kind':<22}{'operation':<38} {'result':<20} source",
        *[_line(o, total, steps) for o in trace.operations if o.program == PROGRAM][:MOST_EXPENSIVE],
        "",
        "For details, open the trace in one of these:",
        f"  TensorBoard's tab Profile: tensorboard --logdir {shlex.quote(str(folder.tensorboard))}",
        "    (needs pip install 'dltrain[profile]'; for a CPU it shows the timeline only)",
        f"  https://ui.perfetto.dev: open {recorded.file.with_suffix('').with_suffix('.trace.json.gz')}",
    ]


def _by_kind(trace: Trace) -> list[tuple[str, float, int]]:
    """Return (kind, self seconds, executions), the most expensive first; other programs are one kind."""
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    for operation in trace.operations:
        kind = operation.instruction.kind if operation.program in (PROGRAM, "") else "other programs"
        sums[kind][0] += operation.seconds
        sums[kind][1] += operation.count
    kinds = [(kind, seconds, int(count)) for kind, (seconds, count) in sums.items()]
    return sorted(kinds, key=lambda entry: -entry[1])


def _line(operation: Operation, total: float, steps: int) -> str:
    instruction = operation.instruction
    return (
        f"{operation.seconds / total:>6.1%}{1e3 * operation.seconds / steps:>11.4f}{operation.count / steps:>13.1f}"
        f"  {instruction.kind:<22}{operation.name:<38} {instruction.shape:<20} "
        f"{instruction.source} {instruction.direction}".rstrip()
    )
