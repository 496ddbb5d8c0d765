"""Start-up: from the command to the first recorded step on the digits, and `dltrain --help`."""

import tempfile
from pathlib import Path

from benchmarks import commands
from benchmarks.measure import Setup, Table

STEPS = 9  # the first chunk has 8 steps, and its logs are written while the second runs


def run(table: Table, setup: Setup) -> None:
    """Start with an empty compilation cache, with a full one, and with --help, in turn."""
    cold, warm, whole, help_ = [], [], [], []
    for _ in range(setup.rounds):
        with tempfile.TemporaryDirectory(prefix="dltrain-bench-") as scratch:
            cwd = Path(scratch)
            for name, found in (("cold", cold), ("warm", warm)):
                words = (f"steps={STEPS}", "log_every=1", f"output_dir={name}")
                ended = commands.run(
                    commands.dltrain(*words),
                    cwd=cwd,
                    awaited=cwd / name / "metrics.jsonl",
                    DLTRAIN_CACHE=str(cwd / "cache"),
                )
                found.append(ended.first)
            whole.append(ended.seconds)
            help_.append(commands.run(commands.dltrain("--help"), cwd=cwd).seconds)
    table.add("start", "digits", "first step, empty cache", "s", cold)
    table.add("start", "digits", "first step, warm cache", "s", warm)
    table.add("start", "digits", f"whole run of {STEPS} steps, warm", "s", whole)
    table.add("start", "--help", "dltrain", "s", help_)
