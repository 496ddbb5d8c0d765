"""Folders of sweeps with any results, written in milliseconds: nothing is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from written_runs import CONFIG, write_run

from dltrain.report.sweeps.jobs import constrained, read_job
from dltrain.report.sweeps.outcome import Outcome
from dltrain.report.sweeps.table import make_rows

BETTER = {"accuracy": {"_target_": "a", "better": "higher"}}


def write_sweep(
    folder: Path,
    jobs: Sequence[tuple[Sequence[str], float | None]],
    *,
    monitor: str = "validation/accuracy",
    higher: bool = True,
    tests: Sequence[float] | None = None,
    objectives: Sequence[str] = (),
    parameters: Sequence[int] = (),
    constraints: Sequence[str] = (),
    notes: str = "",
) -> list[Path]:
    """Write a run for each pair of overrides and monitored metric; None: it failed, with `notes` as its log."""
    paths = []
    for number, (words, score) in enumerate(jobs):
        path, name = folder / str(number), monitor.partition("/")[2]
        swept = {"objectives": list(objectives), "constraints": list(constraints)}
        config: dict[str, Any] = {"sweep": swept, "metrics": BETTER}
        test = tests[number] if tests else (score or 0.0) / 2
        best = {"validation": {name: score, "loss": 0.4}, "test": {name: test}}
        more = {"best": best, "monitor": monitor, "higher_is_better": higher}
        more |= {"parameters": parameters[number]} if parameters else {}
        run = write_run(path, None if score is None else 0.9, config={**CONFIG, **config}, steps=2, **more)
        started = {"overrides": list(words), "choices": {"data": "tiny", "model": "mlp"}}
        run.write_config(run.config.read_text(), started)
        if score is None and notes:
            run.log.write_text(notes)
        paths.append(path)
    (folder / "jobs.txt").write_text("".join(f"{path.name}\n" for path in paths))
    return paths


def outcome_of(folder: Path, paths: Sequence[Path]) -> Outcome:
    """Read such a folder."""
    jobs = constrained([read_job(path, path.name) for path in paths])
    return Outcome(folder, tuple(jobs), tuple(make_rows(jobs)))
