"""What an earlier sweep has trained is copied, if nothing differs on which its result depends."""

import csv
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from dltrain.build import identity
from dltrain.cli.job import compose_jobs
from dltrain.composition.launch import Job
from dltrain.config.folders import roots
from dltrain.devices import runtime
from dltrain.errors import ConfigError, DiskError
from dltrain.report.sweeps.board import Board
from dltrain.runs import copied
from dltrain.runs.files import Files
from dltrain.runs.folder import RunFolder
from dltrain.runs.sealed import read_sealed, seal
from dltrain.sweep import earlier, known
from dltrain.sweep.plan import can_resume, write_configs

pytestmark = pytest.mark.usefixtures("quickly_compiled")

BESIDE = earlier.beside  # which other tests must not use, see `no_earlier_sweeps`
AUTO = {"known": "auto", "repeat": False}
MODEL = """
from dltrain.models.linear import Linear
class Own(Linear):
    pass
"""


@pytest.fixture(autouse=True, scope="module")
def looking():
    """Look for earlier sweeps, as users do; the figures of sweeps are not what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(earlier, "beside", BESIDE)
        patch.setattr("dltrain.report.sweep.draw_figures", lambda found: [])
        yield


@pytest.fixture(scope="module")
def made(dltrain, tmp_path_factory):
    """Two seeds of a model of the user's, trained on a table of the user's."""
    cwd = tmp_path_factory.mktemp("earlier")
    (cwd / "mypart").mkdir()
    (cwd / "mypart" / "__init__.py").write_text("")
    (cwd / "mypart" / "net.py").write_text(MODEL)
    (cwd / "conf" / "model").mkdir(parents=True)
    (cwd / "conf" / "model" / "own.yaml").write_text("# Mine\n_target_: mypart.net.Own\n")
    rows = "".join(f"{i % 7},{i % 3},{'ab'[i % 2]}\n" for i in range(60))
    (cwd / "t.csv").write_text("x,y,target\n" + rows)
    sys.path.insert(0, str(cwd))
    result = dltrain("-m", *words_of(cwd), "seed=0,1", f"output_dir={cwd}/sweeps/a", cwd=cwd, figures=False)
    assert result.code == 0 and "not trained again" not in result.out, result.err
    yield cwd
    sys.path.remove(str(cwd))


def words_of(cwd: Path, *more: str) -> tuple[str, ...]:
    table = ("data=table", f"data.path={cwd}/t.csv", "data.target=target")
    own = ("--config-dir", str(cwd / "conf"), "trust=[mypart]", "model=own")
    return (*own, *table, "steps=4", "batch_size=16", "quiet=true", *more)


@pytest.fixture
def copy(made, tmp_path):
    """The folder of these sweeps, which a test may change."""
    shutil.copytree(made / "sweeps", tmp_path / "sweeps")
    return tmp_path / "sweeps"


def find(cwd: Path, sweep: Path, *more: str, settings=AUTO, **about) -> dict[int, RunFolder]:
    """Return the earlier run of a job of a new sweep; nothing is trained."""
    sweep.mkdir(exist_ok=True)
    earlier.write_earlier(sweep, {**AUTO, **settings})
    return known.Known().find([job_of(cwd, sweep, *more)])


def job_of(cwd: Path, sweep: Path, *more: str):
    """Compose the job 0 of a sweep over the seed."""
    words = words_of(cwd)[2:]  # without the folder of YAML
    job = Job(0, (*words, "seed=0", *more), roots(str(cwd / "conf")), sweep / "0", sweep)
    return compose_jobs([job], [word.partition("=")[0] for word in words])[0]


def test_a_grid_trains_only_what_no_earlier_one_has_trained(made, copy, dltrain):
    line = ("-m", *words_of(made), "seed=0,1,2", "tags=[again]", f"output_dir={copy}/b")
    again = dltrain(*line, cwd=made, figures=False)
    assert again.code == 0, again.err
    for number in range(2):
        assert f"known from {copy}/a/{number}, not trained again" in again.out
        assert summary(copy / "b" / str(number)) == summary(copy / "a" / str(number))
    assert "3 runs, 2 known, each at its best state" in again.out and "seed=2" in again.out
    assert "sweep.repeat=true trains them again" in again.out
    with (copy / "b" / "sweep.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["runs"], row["known"]) == ("3", "2") and row["deviation"]
    shutil.rmtree(copy / "a")
    compared = dltrain("compare", f"{copy}/b", cwd=made)
    assert compared.code == 0 and "3 runs, 2 known" in compared.out
    run = str(copy / "b" / "0")
    for command in (("verify", run), ("evaluate", run, "trust=[mypart]"), ("resume", run, "trust=[mypart]")):
        result = dltrain(*command, cwd=made, figures=False)
        assert result.code == 0 and "warning" not in result.err, result.err
    longer = dltrain("resume", run, "steps=6", "trust=[mypart]", cwd=made, figures=False)
    assert longer.code == 0 and summary(copy / "b" / "0")["steps"] == 6
    assert "known" not in RunFolder(copy / "b" / "0").read_started()
    assert summary(copy / "b" / "0")["identity"] is None


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_a_job_with_equal_config_data_and_code_is_known(made, copy):
    assert find(made, copy / "b")[0].path == copy / "a" / "0"
    assert find(made, copy / "b", "name=other", "tags=[x]", "runtime.platform=cpu")[0].path == copy / "a" / "0"
    assert find(made, copy / "b", settings={"repeat": True}) == find(made, copy / "b", settings={"known": []}) == {}


@pytest.mark.parametrize("many", [1, 2])
def test_that_many_earlier_results_are_read_is_said(made, copy, capsys, monkeypatch, many):
    monkeypatch.setattr(earlier, "MANY", many)
    assert find(made, copy / "b")
    assert capsys.readouterr().out.count("reading the results of many earlier sweeps") == (1 if many == 1 else 0)


@pytest.mark.parametrize(
    "word",
    [
        "batch_size=8",
        "optim.learning_rate=0.5",
        "seed=5",
        "data.split_seed=3",
        "runtime.precision=bfloat16",
        "steps=5",
    ],
)
def test_a_job_with_another_value_is_not_known(made, copy, word):
    assert find(made, copy / "b", word) == {}


def test_a_job_with_other_data_is_not_known(made, copy):
    table = made / "t.csv"
    before = table.read_text()
    table.write_text(before.replace("\n6,0,a\n", "\n5,0,a\n", 1))
    try:
        assert table.read_text() != before and find(made, copy / "b") == {}
    finally:
        table.write_text(before)


@pytest.mark.parametrize("file", ["net.py", "__init__.py"])
def test_a_job_with_other_code_of_the_user_is_not_known(made, copy, file):
    path = made / "mypart" / file
    before = path.read_text()
    path.write_text(f"{before}\n# changed\n")
    try:
        assert find(made, copy / "b") == {}
    finally:
        path.write_text(before)


@pytest.mark.parametrize("what", ["version", "library", "source", "device", "threads"])
def test_a_job_of_another_version_or_machine_is_not_known(made, copy, monkeypatch, what):
    identity._software.cache_clear()
    assert find(made, copy / "b")
    changed = {"version": {"dltrain": "9"}, "library": {"optax": "9"}}.get(what, {})
    versions, numerics = runtime.versions(), runtime.numerics()
    monkeypatch.setattr(runtime, "versions", lambda: {**versions, **changed})
    other = {"device": {"device": "gpu"}, "threads": {"threads": 99}}.get(what, {})
    monkeypatch.setattr(runtime, "numerics", lambda: {**numerics, **other})
    if what == "source":
        monkeypatch.setattr(identity, "_source", lambda: {"engine/step.py": [1, 2]})
    identity._software.cache_clear()
    try:
        assert find(made, copy / "b") == {}
    finally:
        identity._software.cache_clear()


@pytest.mark.parametrize(
    "reason", ["pruned: validation/loss 1", "interrupted by SIGINT", "time limit reached: 1 s"]
)
def test_a_run_that_did_not_come_to_its_end_is_not_known(made, copy, reason):
    rewrite(copy / "a" / "0" / "summary.json", stop_reason=reason)
    assert find(made, copy / "b") == {}
    rewrite(
        copy / "a" / "0" / "summary.json", stop_reason="early stopping: no better validation loss in 3 evaluations"
    )
    assert 0 in find(made, copy / "b")


def rewrite(path: Path, **changes) -> None:
    path.write_text(json.dumps(seal({**read_sealed(path), **changes})))


def test_a_run_without_an_identity_is_not_known(made, copy):
    """Such as that of an older dltrain, of a population, or of one that was resumed with other settings."""
    rewrite(copy / "a" / "0" / "summary.json", identity=None)
    assert find(made, copy / "b") == {}


@pytest.mark.parametrize("file", ["metrics.jsonl", "arrays", "manifest.json", "summary.json", "checkpoint"])
def test_a_damaged_run_is_trained_again(made, copy, capsys, file):
    run = copy / "a" / "0"
    (step,) = run.glob("checkpoints/*4")
    if file == "checkpoint":
        shutil.rmtree(step)
    else:
        place = {"arrays": next(step.glob("arrays/d/*")), "manifest.json": step / file}.get(file, run / file)
        place.write_bytes(place.read_bytes()[:-3] + b"???")
    assert find(made, copy / "b") == {}
    said = capsys.readouterr().err
    assert file == "summary.json" or f"note: {run}: is not used, and trained again" in said


def test_only_named_runs_and_sweeps_are_looked_for_where_they_are_named(made, copy, tmp_path, monkeypatch):
    far = tmp_path / "far" / "sweep"
    far.parent.mkdir()
    assert find(made, far) == {}
    monkeypatch.chdir(tmp_path)
    for text in ("sweeps", "sweeps/*", "sweeps/a", "sweeps/a/0", f"{copy}/a/[0-9]"):
        assert find(made, far, settings={"known": [text]})[0].path == copy / "a" / "0", text
        earlier.check_known([text])
    assert find(made, far, settings={"known": ["sweeps/a/1", "nothing*"]}) == {}
    for text, reason in {"sweeps/none": "folder not found", "s3://b/x": "must be a folder on this machine"}.items():
        with pytest.raises(ConfigError, match=reason):
            earlier.check_known([text])


def test_sweeps_of_other_days_are_found_and_what_others_put_next_to_them_is_not(made, copy, tmp_path, monkeypatch):
    day = tmp_path / "multirun" / "2026-01-02"
    day.mkdir(parents=True)
    shutil.move(copy / "a", day / "10-00-00")
    new = tmp_path / "multirun" / "2026-01-03" / "11-00-00"
    new.mkdir(parents=True)
    assert find(made, new)[0].path == day / "10-00-00" / "0"
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert find(made, new) == {}
    assert 0 in find(made, new, settings={"known": [str(tmp_path / "multirun")]})


def test_a_copy_that_fails_leaves_nothing_and_the_job_is_trained(made, copy, monkeypatch, capsys):
    sweep = copy / "b"
    run = find(made, sweep)[0]
    word = "data.split_seed=0"
    job = job_of(made, sweep, word)
    assert job.label == f"seed=0 {word}"  # unlike that of the earlier sweep

    def fail(folder, text):
        raise DiskError("no space")

    monkeypatch.setattr(RunFolder, "note", fail)
    assert known.take(job, run) is None
    assert "job 0 is trained, since" in capsys.readouterr().err
    assert {path.name for path in (sweep / "0").iterdir()} <= {"lock"}
    monkeypatch.undo()
    ended = known.take(job, run)
    assert ended and ended.finished.summary == run.read_summary()
    links = [path.stat().st_nlink for path in (sweep / "0").rglob("*") if path.is_file()]
    assert {*links} == {1, 2} and not copied.find_problem(RunFolder(sweep / "0"), ended.finished.summary)
    (events,) = (sweep / "0").glob("tensorboard/*/events*")
    assert events.parent.name == job.label and word.partition("=")[0].encode() in events.read_bytes()


def test_a_resumed_sweep_takes_what_is_known(made, copy, dltrain):
    """The process of the sweep was killed before its first job."""
    sweep = copy / "b"
    assert find(made, sweep)
    write_configs(sweep, [job_of(made, sweep)])
    result = dltrain("-m", "--resume", str(sweep), "trust=[mypart]", cwd=made)
    assert result.code == 0 and "1 runs, 1 known" in result.out, result.err
    assert not (sweep / ".jobs").exists()


def test_a_copy_that_is_interrupted_is_made_again(made, copy, dltrain, monkeypatch):
    """The summary comes last, so what is there until then has not ended, but has not begun to train either."""
    copy_in = Files.copy_in

    def stop(files, name, source, **how):
        if name == "summary.json":
            raise KeyboardInterrupt
        copy_in(files, name, source, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "copy_in", stop)
        stopped = dltrain("-m", *words_of(made), "seed=0,1", f"output_dir={copy}/b", cwd=made, figures=False)
    assert stopped.code == 130 and not (copy / "b" / "0" / "summary.json").exists()
    resumed = dltrain("-m", "--resume", f"{copy}/b", "trust=[mypart]", cwd=made, figures=False)
    assert resumed.code == 0 and "2 runs, 2 known" in resumed.out, resumed.err
    for number in "01":
        assert summary(copy / "b" / number)["hash"] == summary(copy / "a" / number)["hash"]


def test_a_damaged_record_of_a_job_ends_no_other_one(copy):
    """The job itself reports it when it goes on."""
    run = copy / "a" / "0"
    assert can_resume(run)
    (run / "overrides.yaml").write_text("{")
    (run / "summary.json").unlink()
    assert can_resume(run)


@pytest.mark.skipif(not importlib.util.find_spec("optuna"), reason="pip install 'dltrain[sweep]'")
def test_a_search_is_told_the_results_of_trials_that_are_known(tmp_path, dltrain):
    words = ("-m", "data=iris", "data.split_seed=7", "model=linear", "epochs=3", "batch_size=32", "quiet=true")
    rate, loss = "optim.learning_rate=interval(1e-3,1)", "sweep.objectives=[validation/loss]"
    search = (*words, "sweep=tpe", "sweep.workers=2", "sweep.pruner=median", loss, rate)
    first = dltrain(*search, "sweep.trials=2", "output_dir=a", cwd=tmp_path, figures=False)
    again = dltrain(*search, "sweep.trials=3", "output_dir=b", cwd=tmp_path, figures=False)
    assert first.code == again.code == 0, again.err
    assert "3 runs, 2 known" in again.out and f"known from {tmp_path}/a/1, not trained again" in again.out
    journal = [json.loads(line) for line in (tmp_path / "b" / "study.journal").read_text().splitlines()]
    for number in range(2):
        run = tmp_path / "b" / str(number)
        assert summary(run) == summary(tmp_path / "a" / str(number))
        told = [entry for entry in journal if entry.get("trial_id") == number]
        assert [e["values"] for e in told if e.get("values")] == [[summary(run)["best"]["validation"]["loss"]]]
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        values = [row["loss"] for row in rows if row["split"] == "validation"]
        assert [e["intermediate_value"] for e in told if "intermediate_value" in e] == values


def test_the_board_counts_known_jobs_but_not_as_work_that_is_done():
    clock = iter([0.0, 10.0])
    board = Board(4, now=lambda: next(clock))
    with board.job(0, "seed=0") as follow:
        follow({"stop_reason": "all steps done"}, known=True)
    board.begin(1, "seed=1")
    board.progress(1, step=5, total=10, epoch=1)
    assert board.lines(80)[0].startswith("1 of 4 jobs ended, 1 known, 1 running; 50s left")
