"""Words for figures: which state of a run they show."""

from dltrain.build.program import Program


def weights_shown(program: Program) -> str:
    """Return which weights are evaluated and drawn."""
    if program.plan.ema is not None:
        return "EMA weights"
    return "averaged weights" if program.averages else "trained weights"


def describe_state(program: Program, step: int, kind: str = "") -> str:
    """Return which state a figure shows: its step, what kind of state it is, and which weights."""
    return f"step {step:,}{f' ({kind})' if kind else ''}, {weights_shown(program)}"
