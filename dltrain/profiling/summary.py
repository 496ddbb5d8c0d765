"""Where the time of some steps went, as text: read from the trace that `profile=true` records."""

import shlex
from collections import defaultdict

from dltrain.callbacks.profile import Recorded
from dltrain.profiling.trace import Operation, Trace, read_trace
from dltrain.runs.folder import RunFolder

PROGRAM = "jit_chunk"  # what `engine.chunk` compiles to
MOST_EXPENSIVE = 10


def profiled(recorded: Recorded, folder: RunFolder) -> list[str]:
    """Describe a trace in lines, the first three of which are the result."""
    try:
        trace = read_trace(recorded.file, program=PROGRAM)
    except ValueError as error:
        return [f"profile     {error}"]
    steps = recorded.last - recorded.first + 1
    total = sum(operation.seconds for operation in trace.operations) or 1e-9
    kinds = _by_kind(trace)
    most = ", ".join(f"{kind} {seconds / total:.0%}" for kind, seconds, _ in kinds[:4])
    return [
        f"profile     steps {recorded.first} to {recorded.last}: {steps} steps in {trace.seconds:.3f} s,"
        f" {1e3 * trace.seconds / steps:.3f} ms a step",
        f"            device busy {trace.busy / trace.seconds:.1%} of the time, else waiting for the host",
        f"            own time: {most}",
        "",
        "Own time is without what runs inside an operation. On a processor it adds up over threads, and what an",
        "operation hands to further threads of the pool is not in it.",
        "",
        f"{'kind':<22}{'own time':>10}{'share':>9}{'ms a step':>11}{'runs a step':>13}",
        *(
            f"{kind:<22}{own:>8.3f} s{own / total:>9.1%}{1e3 * own / steps:>11.4f}{count / steps:>13.1f}"
            for kind, own, count in kinds
        ),
        "",
        f"The {MOST_EXPENSIVE} most expensive operations of training",
        f"{'share':>6}{'ms a step':>11}{'runs a step':>13}  {'kind':<22}{'operation':<38} {'result':<20} "
        "written in",
        *[_line(o, total, steps) for o in trace.operations if o.program == PROGRAM][:MOST_EXPENSIVE],
        "",
        "look closer",
        f"  pip install xprof && tensorboard --logdir {shlex.quote(str(folder.tensorboard))}   (tab Profile)",
        f"  https://ui.perfetto.dev, and open there {recorded.file.with_suffix('').with_suffix('.trace.json.gz')}",
    ]


def _by_kind(trace: Trace) -> list[tuple[str, float, int]]:
    """Sum own seconds and executions by kind, the most expensive first; other programs are one kind."""
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    for operation in trace.operations:
        kind = operation.what.kind if operation.program in (PROGRAM, "") else "other programs"
        sums[kind][0] += operation.seconds
        sums[kind][1] += operation.count
    found = [(kind, seconds, int(count)) for kind, (seconds, count) in sums.items()]
    return sorted(found, key=lambda row: -row[1])


def _line(operation: Operation, total: float, steps: int) -> str:
    what = operation.what
    return (
        f"{operation.seconds / total:>6.1%}{1e3 * operation.seconds / steps:>11.4f}{operation.count / steps:>13.1f}"
        f"  {what.kind:<22}{operation.name:<38} {what.shape:<20} {what.source} {what.direction}".rstrip()
    )
