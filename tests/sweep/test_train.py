"""A sweep trains what can share a program together, resumes what is missing, and draws the best job only."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dltrain import training
from dltrain.build.differences import Differences
from dltrain.build.varied import Varied
from dltrain.sweep import measure, together, train
from dltrain.sweep.measure import Choice
from dltrain.training import _once

pytestmark = pytest.mark.usefixtures("quickly_compiled")

SHORT = ("-m", "data=iris", "data.split_seed=7", "model=linear", "quiet=true", "eval_every=3", "optim=sgd")
LINE = (*SHORT, "steps=6")
VARIED = ("optim.learning_rate=0.01,0.03,0.1", "seed=1")


def summaries(folder: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/summary.json"))}


def metrics_of(summary: dict) -> dict[str, float]:
    return {f"{split}/{name}": v for split in ("validation", "test") for name, v in summary[split].items()}


def with_lanes(monkeypatch, count: int) -> None:
    """Train with so many lanes, however fast they are."""
    monkeypatch.setattr(
        "dltrain.sweep.train.choose_lanes", lambda program, **about: Choice(about["begun"] or count, 2, "as tested")
    )


@pytest.fixture(scope="module")
def swept(dltrain, tmp_path_factory):
    """The same three jobs in 2 lanes, one after the other, and one of them as a run alone."""
    cwd = tmp_path_factory.mktemp("lanes")
    for lanes in (2, 1):
        with pytest.MonkeyPatch.context() as patch:
            with_lanes(patch, lanes)
            result = dltrain(*LINE, *VARIED, f"output_dir={lanes}", cwd=cwd, figures=False)
        assert result.code == 0, result.err
    alone = dltrain(*LINE[1:], "optim.learning_rate=0.1", "seed=1", "output_dir=alone", cwd=cwd, figures=False)
    assert alone.code == 0, alone.err
    return cwd


def test_lanes_have_the_results_of_runs_alone(swept):
    alone = summaries(swept / "1")
    assert sorted(alone) == ["0", "1", "2"]
    assert len({summary["hash"] for summary in alone.values()}) == 3
    for number, summary in summaries(swept / "2").items():
        assert metrics_of(summary) == pytest.approx(metrics_of(alone[number]), rel=1e-5)
        assert summary["steps"] == 6


def test_one_after_the_other_in_one_program_the_bits_are_those_of_a_run_alone(swept):
    assert summaries(swept / "1")["2"]["hash"] == json.loads((swept / "alone" / "summary.json").read_text())["hash"]


@pytest.mark.slow
def test_where_lanes_are_not_faster_jobs_with_other_numbers_are_runs_alone(dltrain, tmp_path, monkeypatch):
    with_lanes(monkeypatch, 1)
    prepared = []
    prepare = training.prepare_run
    for module in (train, together):
        monkeypatch.setattr(
            module, "prepare_run", lambda *given, **how: prepared.append(how) or prepare(*given, **how)
        )
    line = (*LINE, "model=mlp", "model.widths=[8]", "loss=cross_entropy", "loss.label_smoothing=0.2")
    varied = ("model.dropout=0.1,0.3", "optim.learning_rate=0.001,0.01")
    result = dltrain(*line, *varied, "output_dir=grid", cwd=tmp_path)
    assert result.code == 0, result.err
    assert len(prepared) == 3  # to try lanes, and for each dropout
    alone = (*line[1:], "model.dropout=0.3", "optim.learning_rate=0.01", "output_dir=alone")
    assert dltrain(*alone, cwd=tmp_path, figures=False).code == 0
    found = summaries(tmp_path / "grid")
    expected = json.loads((tmp_path / "alone" / "summary.json").read_text())
    assert found["3"]["hash"] == expected["hash"] and metrics_of(found["3"]) == metrics_of(expected)
    assert len({summary["hash"] for summary in found.values()}) == 4


def test_numbers_that_a_part_cannot_take_as_traced_values_are_a_reason_against_lanes(program, monkeypatch):
    monkeypatch.setattr(type(program), "untraceable", lambda self: "loss.gamma: TypeError: no")
    monkeypatch.setattr(program, "differences", Differences((Varied({}, (), ("loss.gamma",)),)))
    assert measure.choose_lanes(program, jobs=8) == Choice(1, 0, "loss.gamma: TypeError: no")


def test_each_lane_has_a_folder_like_a_run_alone(swept):
    files = {path.name for path in (swept / "alone").iterdir()}
    for number in "012":
        assert {path.name for path in (swept / "2" / number).iterdir()} == files
    rows = [json.loads(line) for line in (swept / "2" / "2" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["split"] == "validation"] == [3, 6]


def test_jobs_that_share_a_program_have_the_graph_of_a_run_alone(swept):
    def graph_of(run: Path):
        (events,) = (run / "tensorboard").rglob("*tfevents*")
        return EventAccumulator(str(events.parent)).Reload().Graph()

    graph = graph_of(swept / "alone")
    assert len(graph.node) > 2
    for lanes in "12":
        assert [graph_of(swept / lanes / number) for number in "012"] == [graph] * 3


def test_one_value_is_made_once_for_all_threads_that_begin_together():
    calls, get = [], _once(lambda: calls.append(time.sleep(0.05)) or len(calls))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: get(), range(4))) == [1] * 4


def test_a_finished_sweep_has_nothing_to_resume(swept, dltrain):
    result = dltrain("-m", "--resume", "2", cwd=swept)
    assert result.code == 2 and "all jobs of this sweep have ended" in result.err
    assert dltrain("-m", "--resume", "alone", cwd=swept).code == 2
    assert "is for a sweep: dltrain -m --resume 2" in dltrain("--resume", "2", cwd=swept).err
    assert "only trust=[...]" in dltrain("-m", "--resume", "2", "seed=3", cwd=swept).err


@pytest.mark.slow
def test_figures_are_drawn_for_the_best_job_only(dltrain, tmp_path, monkeypatch):
    with_lanes(monkeypatch, 2)
    result = dltrain(*LINE, "optim.learning_rate=0.001,0.5", "output_dir=grid", cwd=tmp_path)
    assert result.code == 0, result.err
    best = max(summaries(tmp_path / "grid").items(), key=lambda item: item[1]["best"]["validation"]["accuracy"])[0]
    drawn = {path.parent.parent.name for path in (tmp_path / "grid").glob("*/report/curves.png")}
    assert drawn == {best}


def test_a_program_with_parameter_groups_is_not_shared_over_rates(dltrain, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("dltrain.sweep.train._train_alone", lambda job, shared: seen.append(job.number))
    group = "optim.groups={head: {learning_rate: 0.1}}"
    dltrain(*LINE, "optim.learning_rate=0.1,0.2", group, "output_dir=grid", cwd=tmp_path, figures=False)
    assert seen == [0, 1]


@pytest.mark.parametrize("fast", [1.0, 1.3])
def test_lanes_are_used_where_they_are_faster(program, monkeypatch, fast):
    monkeypatch.setattr(measure, "_bytes", lambda *about: 1)
    monkeypatch.setattr(measure, "_compile_together", lambda *about: None)
    monkeypatch.setattr(measure, "seconds_alone", lambda *about: 0.001)
    monkeypatch.setattr(measure, "seconds_of_lanes", lambda program, count, shares: count * 0.001 / fast)
    choice = measure.choose_lanes(program, jobs=8)
    assert choice.lanes == (8 if fast > 1.2 else 1)
    shown = f"{fast:.1f} times" if fast > 1.2 else f"{fast:.2f} times"
    assert "1,000 steps/s alone" in choice.why and shown in choice.why


@pytest.fixture
def compiled(caplog):
    """Count how often a function was compiled, in any thread."""

    def count(function: str) -> int:
        return sum(record.getMessage().startswith(f"Compiling jit({function})") for record in caplog.records)

    jax.config.update("jax_log_compiles", True)
    with caplog.at_level("WARNING", "jax._src.interpreters.pxla"):
        yield count
    jax.config.update("jax_log_compiles", False)


def test_what_lanes_need_is_compiled_once_before_it_is_timed(make_program, compiled, unoptimised):
    program = make_program()
    measure._compile_together(program, 2, lambda: None)
    assert [compiled(name) for name in ("chunk", "run", "initial")] == [1, 1, 1]
    measure.seconds_of_lanes(program, 2)
    program.evaluate(program.start(), "validation")
    assert [compiled(name) for name in ("chunk", "run", "initial")] == [1, 1, 1]


def test_lanes_that_do_not_fit_into_memory_are_fewer(program, monkeypatch):
    room = measure.memory.device_room().bytes
    monkeypatch.setattr(measure, "_bytes", lambda program, count, shares: count * shares * room / 3)
    monkeypatch.setattr(measure, "_compile_together", lambda *about: None)
    monkeypatch.setattr(measure, "seconds_alone", lambda *about: 0.001)
    monkeypatch.setattr(measure, "seconds_of_lanes", lambda program, count, shares: 0.001)
    assert measure.choose_lanes(program, jobs=8).lanes == 2


@pytest.mark.parametrize("of_a_run", [0, 0.001, 0.05])
def test_lanes_are_compiled_for_their_memory_unless_there_is_ample(program, monkeypatch, of_a_run):
    room, asked = measure.memory.device_room(), []
    monkeypatch.setattr(measure.memory, "device_room", lambda: room)
    monkeypatch.setattr(program, "memory", int(of_a_run * room.bytes))  # 0: it was not compiled
    monkeypatch.setattr(measure, "_bytes", lambda *about: asked.append(about[1:]) or 1)
    monkeypatch.setattr(measure, "_compile_together", lambda *about: None)
    monkeypatch.setattr(measure, "seconds_alone", lambda *about: 0.001)
    monkeypatch.setattr(measure, "seconds_of_lanes", lambda program, count, shares: 0.001)
    assert measure.choose_lanes(program, jobs=7).lanes == 7
    assert asked == ([] if of_a_run == 0.001 else [(7, 1)])
    asked.clear()
    monkeypatch.setattr(measure.memory, "on_host", lambda: False)  # each device has its own
    monkeypatch.setitem(vars(program), "by_device", (program,) * 100)  # each has a part of the batch of a run
    assert measure.choose_lanes(program, jobs=700).lanes and asked


@pytest.mark.parametrize(
    ("jobs", "cores", "lanes", "shares"), [(16, 2, 16, 2), (13, 2, 14, 2), (7, 2, 7, 1), (16, 8, 16, 4)]
)
def test_lanes_are_divided_among_the_cores_if_each_gets_some(program, monkeypatch, jobs, cores, lanes, shares):
    timed = []
    monkeypatch.setattr(measure, "_bytes", lambda *about: 1)
    monkeypatch.setattr(measure, "_compile_together", lambda *about: None)
    monkeypatch.setattr(measure, "seconds_alone", lambda *about: 0.001)
    monkeypatch.setattr(measure, "seconds_of_lanes", lambda *about: timed.append(about[1:]) or 0.002)
    monkeypatch.setattr(measure.runtime, "threads", lambda: cores)
    choice = measure.choose_lanes(program, jobs=jobs)
    assert (choice.lanes, choice.shares) == (lanes, shares)
    assert timed == [(lanes, shares)]
    assert len(measure.divide_lanes(program, shares)) == shares
    again = measure.choose_lanes(program, jobs=3, begun=lanes, shares=shares)
    assert (again.lanes, again.shares) == (lanes, shares)


def test_fewer_lanes_are_tried_if_all_together_gain_little(program, monkeypatch):
    monkeypatch.setattr(measure, "_bytes", lambda *about: 1)
    monkeypatch.setattr(measure, "_compile_together", lambda *about: None)
    monkeypatch.setattr(measure, "seconds_alone", lambda *about: 0.001)
    monkeypatch.setattr(measure, "seconds_of_lanes", lambda program, count, shares: {16: 0.0125, 8: 0.005}[count])
    monkeypatch.setattr(measure.runtime, "threads", lambda: 2)
    choice = measure.choose_lanes(program, jobs=16)
    assert (choice.lanes, choice.shares) == (8, 2)
    assert "1,280 in 16 lanes, 1,600 in 8 lanes, 1.6 times as fast" in choice.why
    assert measure.choose_lanes(program, jobs=16, least_gain=0.0).lanes == 16  # a population needs them all


def test_baselines_that_are_missing_are_asked_for_once(dltrain, tmp_path, monkeypatch):
    asked = []

    def choose(program, *, meanwhile, **about):
        meanwhile()
        return Choice(2, 2, "as tested")

    monkeypatch.setattr(train, "choose_lanes", choose)
    monkeypatch.setattr(together, "try_to_compare", lambda *about: asked.append(about) or {})
    result = dltrain(*LINE, "optim.learning_rate=0.01,0.1", "output_dir=grid", cwd=tmp_path, figures=False)
    assert result.code == 0 and len(asked) == 1, result.err
