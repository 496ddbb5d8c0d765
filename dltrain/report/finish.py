"""The end of a run: final numbers, pictures, summary.json, and the commands that come next."""

import contextlib
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dltrain.build.program import Program
from dltrain.data.split import NAMES
from dltrain.devices import memory
from dltrain.engine.evaluate import Evaluation
from dltrain.engine.state import TrainState, from_named, named_leaves, state_hash
from dltrain.inference.generate import writes_text
from dltrain.profiling.summary import summarize
from dltrain.report.console import Screen, complain, shown
from dltrain.report.embeddings import neighbours, vectors
from dltrain.report.pictures import pictures
from dltrain.report.text import written_on
from dltrain.runs import checkpoint
from dltrain.runs.files import replace_json, replace_text, writing
from dltrain.runs.folder import RunFolder
from dltrain.runs.projector import write_vectors
from dltrain.runs.result import TrainResult
from dltrain.tree import count

WORTH_ADVICE = 0.1  # share of the time waiting for data from which on the end says what helps
ADVICE = (
    "read with more threads (data.threads=..., up to the number of cores)",
    "keep the data on the device, if it fits (data.feed=resident)",
    "bring the files to a disk of this machine, or make the source's `read` cheaper",
)
Found = dict[str, Evaluation]


def finish(program: Program, folder: RunFolder, screen: Screen, trained: TrainResult) -> dict[str, Any]:
    """Evaluate what the run ended with and its best state, draw, write the summary, and say it all.

    An interrupted run raises here instead: it is saved, and will be finished when it is resumed.
    """
    with contextlib.closing(trained.recorder):
        _profile(screen, folder, trained)
        trained.raise_if_interrupted(folder)
        state = trained.outcome.state
        final = {split: program.evaluate(state, split) for split in _held_out(program)}
        best_step, best_state, best = _best_step(folder, trained), state, final
        if best_step != trained.outcome.step:
            leaves = checkpoint.load(folder.checkpoints, best_step).leaves
            best_state = program.place(from_named(state, leaves, what=f"checkpoint of step {best_step}"))
            best = {split: program.evaluate(best_state, split) for split in final}
        _embed(program, folder, best_state)
        for split in final:
            if split not in program.plan.splits:
                trained.recorder.evaluation(trained.outcome.step, split, final[split])
        unaveraged = replace(state, ema={})
        raw = {split: program.evaluate(unaveraged, split) for split in final if state.ema}
        _draw(program, folder, best_state, best, best_step, trained)
        summary = _summary(program, trained, final, best, best_step, raw)
        replace_json(folder.summary, summary)
        trained.recorder.writer().session_end(success=True)
    _say(screen, folder, summary)
    return summary


def _held_out(program: Program) -> list[str]:
    """List the splits that final metrics are computed on."""
    return [name for name in NAMES if name != "train" and len(program.parts.splits[name])]


def _best_step(folder: RunFolder, trained: TrainResult) -> int:
    """Return the step of the best state; where its checkpoint is damaged, of the final one, aloud."""
    last, best = trained.outcome.step, trained.best_step
    if best in (None, last) or checkpoint.is_whole(folder.checkpoints, best, say=complain):
        return best or last
    complain(f"the best state, of step {best}, is lost; the final one, of step {last}, is reported in its place")
    return last


def _summary(
    program: Program, trained: TrainResult, final: Found, best: Found, best_step: int, raw: Found
) -> dict[str, Any]:
    outcome, pipeline, clock = trained.outcome, program.parts.pipeline, trained.saver.clock
    done = outcome.step - trained.first_step
    return {
        **{split: found.scalars for split, found in final.items()},
        "best": {split: found.scalars for split, found in best.items()},
        "best_step": best_step,
        "raw": {split: found.scalars for split, found in raw.items()},  # of the weights that no mean was taken of
        "monitor": str(program.plan.monitor) if program.plan.monitor else None,
        "higher_is_better": bool(program.plan.monitor and program.plan.monitor.higher_is_better),
        "steps": outcome.step,
        "epochs": outcome.step / pipeline.steps_per_epoch,
        "seconds": round(clock.seconds + outcome.seconds, 3),  # all legs of the run together, as the saves are
        "left_out": trained.left_out,
        "examples_per_second": round(done * pipeline.batch_size / max(outcome.seconds, 1e-9), 1),
        "parameters": count(outcome.state.params),
        "stop_reason": outcome.reason,
        "saves": {"count": clock.saves, "seconds_stalled": round(clock.stalled, 4)},
        "peak_memory": memory.peak(),  # bytes
        "waiting": _waiting(program, trained),
        "skipped": trained.skipped,
        "hash": state_hash({n: np.asarray(v) for n, v in named_leaves(outcome.state).items()}),
    }


def _waiting(program: Program, trained: TrainResult) -> float | None:
    """Return the share of the time that training stood still for data; None where none is streamed."""
    waited = program.waited
    return None if waited is None else round(waited() / max(trained.outcome.seconds, 1e-9), 4)


def _profile(screen: Screen, folder: RunFolder, trained: TrainResult) -> None:
    """Write and say where the time of the recorded steps went."""
    if not (profile := trained.profile):
        return
    if not profile.recorded:
        screen.say(f"profile     nothing was recorded: {profile.problem}")
        return
    lines = summarize(profile.recorded, folder)
    with writing(folder.report):
        folder.report.mkdir(exist_ok=True)
        (folder.report / "profile.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    screen.say("\n".join(["", *lines[:3], f"            more in {folder.report}/profile.txt"]))


def _say(screen: Screen, folder: RunFolder, summary: Mapping[str, Any]) -> None:
    screen.say()
    for split in ("validation", "test"):
        for title, found in (("final", summary), ("best", summary["best"]), ("raw", summary["raw"])):
            if split in found and (title != "best" or summary["best_step"] != summary["steps"]):
                step = summary["best_step"] if title == "best" else summary["steps"]
                numbers = "  ".join(f"{n} {shown(v)}" for n, v in found[split].items() if "/" not in n)
                style = "bold" if split == "test" else None
                screen.say(f"{split:<10} {title:<5} (step {step})  {numbers}", style=style, result=True)
    speed = f"{summary['examples_per_second']:,.0f} examples/s"
    screen.say(f"{summary['stop_reason']}: {summary['steps']} steps in {summary['seconds']:.1f} s, {speed}")
    most = ", ".join(f"{memory.shown(count)} of the {of}" for of, count in summary["peak_memory"].items())
    screen.say(f"peak memory {most}")
    if (waiting := summary["waiting"]) is not None:
        screen.say(f"{waiting:.1%} of the time was spent waiting for data")
        for advice in ADVICE if waiting > WORTH_ADVICE else ():
            screen.say(f"            {advice}")
    if skipped := summary["skipped"]:
        few = ", ".join(map(str, skipped[:8])) + ", ..." * (len(skipped) > 8)
        screen.say(f"{len(skipped)} steps were skipped, their loss or gradient being NaN or infinite: {few}")
    screen.say(f"run folder  {folder.path}", result=True)
    pictures = sorted(p.name for p in folder.report.glob("*.png"))
    screen.say(f"pictures    {folder.report}/: {', '.join(pictures)}")
    for text in ("sample", "neighbours"):
        if (folder.report / f"{text}.txt").exists():
            screen.say(f"{text:<12}{folder.report}/{text}.txt")
    screen.say(f"next        dltrain evaluate {folder.word}")
    screen.say(f"            dltrain resume {folder.word} epochs={2 * max(1, round(summary['epochs']))}")
    several = next((p for p in folder.path.parents if p.name in ("outputs", "multirun")), folder.path)
    screen.say(f"            tensorboard --logdir {shlex.quote(str(several))}")


def _embed(program: Program, folder: RunFolder, state: TrainState) -> None:
    """Write the vectors of tokens for the projector, and which are near each other.

    This comes before the numbers of the test rows: a TensorBoard that is open looks for vectors when a folder of
    events is new.
    """
    if tables := vectors(program, state):
        tokens = program.parts.spec.vocabulary
        write_vectors(folder.tensorboard, tables, tokens)
        with writing(folder.report):
            folder.report.mkdir(exist_ok=True)
        replace_text(folder.report / "neighbours.txt", neighbours(tables, tokens))


def _draw(
    program: Program, folder: RunFolder, state: TrainState, found: Found, best_step: int, trained: TrainResult
) -> None:
    """Draw the pictures of the state that was best into `report/` and into TensorBoard."""
    from dltrain.plots.curves import curves  # matplotlib takes a second to import
    from dltrain.plots.png import png_bytes, png_size

    recorder = trained.recorder
    figures = {"curves": curves(_by_column(recorder.history), best_step=best_step if trained.best_step else None)}
    if split := next((split for split in ("test", "validation") if split in found), None):
        figures |= pictures(program, state, found[split])
    with writing(folder.report):
        folder.report.mkdir(exist_ok=True)
        for name, figure in figures.items():
            png = png_bytes(figure)
            (folder.report / f"{name}.png").write_bytes(png)
            recorder.writer().image(trained.outcome.step, name, png, *png_size(png))
        if writes_text(program):
            (text,) = written_on(program, state, seed=program.plan.seed)
            (folder.report / "sample.txt").write_text(text, encoding="utf-8")


def _by_column(history: Mapping[str, list[dict[str, Any]]]) -> dict[str, dict[str, list[Any]]]:
    """Turn rows into columns: the loss, and what is measured on both splits."""
    names = {n for split, rows in history.items() if split != "train" for row in rows for n in row}
    names = (names or {"loss", "step"}) - {"split"}
    return {s: {n: [r.get(n) for r in rows] for n in names} for s, rows in history.items() if s != "test"}
