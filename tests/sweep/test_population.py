"""A population: copies of state and numbers, run folders, and the same bits wherever the process ends."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray

from dltrain.runs import checkpoint
from dltrain.runs.sealed import read_sealed
from dltrain.sweep import population as populations
from dltrain.sweep.measure import Choice

pytestmark = pytest.mark.usefixtures("quickly_compiled")

WORDS = ("-m", "sweep=pbt", "sweep.trials=4", "sweep.interval=1", "data=iris", "data.split_seed=7", "model=linear")
RANGES = ("optim=adamw", "optim.learning_rate=interval(1e-4,1)", "optim.weight_decay=interval(1e-5,1e-2)")
LENGTH = ("eval_every=3", "checkpoint_every=2", "steps=12", "batch_size=32", "optim.ema=0.9", "quiet=true")
LINE = (*WORDS, *RANGES, *LENGTH, "output_dir=s")
STEPS = (3, 6, 9)


def history(folder: Path) -> list[dict]:
    return read_sealed(folder / "pbt.json")["exchanges"]


def hashes(folder: Path) -> dict[str, str]:
    return {path.parent.name: json.loads(path.read_text())["hash"] for path in folder.glob("*/summary.json")}


def keep(folder: Path, copy: Path) -> None:
    """Copy a folder while members wait; what another thread renames meanwhile is read again."""
    for _ in range(20):
        try:
            shutil.copytree(folder, copy)
            return
        except shutil.Error:
            shutil.rmtree(copy)
    raise AssertionError(f"{folder} does not come to rest")


@pytest.fixture(scope="module")
def trained(dltrain, tmp_path_factory):
    """A population, with a copy of its folder at each moment of its exchanges, and the checkpoints of these."""
    cwd, copies = tmp_path_factory.mktemp("population"), tmp_path_factory.mktemp("moments")
    write, decide = populations.Population.write, populations.Population._decide

    def written(population):
        step = population.last.get("step", 0)
        keep(population.folder, copies / f"{step}-before") if step else None
        write(population)
        keep(population.folder, copies / f"{step}-after") if step else None

    def decided(population, offers):
        for thread in threading.enumerate():
            if thread.name == "checkpoint":  # which is still being written
                thread.join()
        keep(population.folder, copies / f"{next(iter(offers.values())).step}-met")
        decide(population, offers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(populations.Population, "write", written)
        patch.setattr(populations.Population, "_decide", decided)
        patch.setattr(populations, "choose_lanes", lambda program, **about: Choice(4, 2, "as tested"))
        result = dltrain(*LINE, cwd=cwd, figures=False)
    assert result.code == 0, result.err
    return cwd / "s", copies, result


def leaves(folder: Path, member: int | str, step: int) -> dict[str, np.ndarray]:
    return dict(checkpoint.load(folder / str(member) / "checkpoints", step).leaves)


def test_a_copy_has_the_state_of_its_source_its_own_key_and_new_numbers(trained):
    _, moments, _ = trained
    copied = 0
    for number, step in enumerate(STEPS):
        at = moments / f"{step}-after"
        for member, found in history(at)[number]["members"].items():
            own = leaves(at, member, step)
            rate, decay = (np.float32(found["numbers"][f"optim.{n}"]) for n in ("learning_rate", "weight_decay"))
            assert own["hparams.learning_rate"] == rate and own["hparams.weight_decay"] == decay
            if found["source"] is None:
                continue
            copied += 1
            source = leaves(at, found["source"], step)
            same = [n for n in own if n.split(".")[0] in ("params", "model_state", "opt_state", "ema", "updates")]
            assert len(same) > 8 and all(np.array_equal(own[n], source[n]) for n in same)
            assert not np.array_equal(own["key"], source["key"]) and own["step"] == step
            assert own["hparams.learning_rate"] != source["hparams.learning_rate"]
    assert copied == 3


def validated(folder: Path, member: int | str) -> dict[int, float]:
    rows = [json.loads(line) for line in (folder / str(member) / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["accuracy"] for row in rows if row["split"] == "validation"}


def test_metrics_and_the_best_state_of_a_copy_are_those_of_the_state_it_goes_on_with(trained):
    folder, _, _ = trained
    for done in history(folder):
        for member, found in done["members"].items():
            of = str(member if found["source"] is None else found["source"])
            assert validated(folder, member)[done["step"]] == done["members"][of]["value"]
    for member in range(4):
        summary = json.loads((folder / str(member) / "summary.json").read_text())
        assert summary["steps"] == 12
        assert summary["best"]["validation"]["accuracy"] == max(validated(folder, member).values())


def test_members_are_runs_with_seeds_of_their_own(trained):
    folder, _, _ = trained
    words = [read_sealed(folder / str(member) / "overrides.yaml")["overrides"] for member in range(4)]
    assert [word for line in words for word in line if word.startswith("seed=")] == [f"seed={n}" for n in range(4)]
    assert len({word for line in words for word in line if word.startswith("optim.learning_rate=")}) == 4


@pytest.mark.parametrize(
    "moment", ["6-half", *(pytest.param(m, marks=pytest.mark.slow) for m in ("3-met", "6-before", "9-after"))]
)
def test_a_population_that_was_killed_goes_on_to_the_same_bits(trained, moment, dltrain, tmp_path):
    folder, moments, _ = trained
    copy = shutil.copytree(moments / moment.replace("half", "before"), tmp_path / "s")
    if moment == "6-half":  # killed while checkpoints were written
        for member in (0, 2):
            shutil.rmtree(copy / str(member) / "checkpoints" / "step_00000006")
    result = dltrain("-m", "--resume", "s", cwd=tmp_path, figures=False)
    assert result.code == 0, result.err
    assert "4 of 4 jobs are missing" in result.out
    assert hashes(copy) == hashes(folder) and len(hashes(folder)) == 4
    assert history(copy) == history(folder)
    assert (copy / "sweep.csv").read_text() == (folder / "sweep.csv").read_text()


def test_the_end_says_what_the_best_config_leaves_out(trained):
    folder, _, result = trained
    numbers = history(folder)[-1]["members"]
    best = yaml.safe_load((folder / "experiment" / "best.yaml").read_text())
    assert {
        "optim.learning_rate": best["optim"]["learning_rate"],
        "optim.weight_decay": best["optim"]["weight_decay"],
    } in [found["numbers"] for found in numbers.values()]
    assert "3 exchanges with 3 copies" in result.out and "best.yaml trains the last numbers alone" in result.out
    assert [path.name for path in (folder / "report").iterdir()] == ["population.png"]
    assert "importance:" not in result.out and not (folder / ".jobs").exists()


def test_tensorboard_has_the_numbers_of_a_member_over_time(trained):
    folder, _, _ = trained
    place = next((folder / "0" / "tensorboard").rglob("events.out*"))
    found = {}
    for event in EventFileLoader(str(place)).Load():
        for value in event.summary.value:
            if value.tag == "training/optim.learning_rate":
                found[event.step] = (
                    make_ndarray(value.tensor).item() if value.HasField("tensor") else value.simple_value
                )
    first = read_sealed(folder / "pbt.json")["members"]["0"]["optim.learning_rate"]
    expected = {0: first} | {
        done["step"]: done["members"]["0"]["numbers"]["optim.learning_rate"] for done in history(folder)
    }
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_a_member_that_fails_leaves_the_others_alone(dltrain, tmp_path, monkeypatch):
    """A broken disk under one member ends it; the others exchange without it, and are resumed without it."""
    monkeypatch.setattr(populations, "choose_lanes", lambda program, **about: Choice(4, 2, "as tested"))
    meet = populations.Member.meet

    def broken(member, event):
        if member.number == 1 and event.step == 6:
            raise OSError("disk")
        return meet(member, event)

    monkeypatch.setattr(populations.Member, "meet", broken)
    result = dltrain(*LINE, cwd=tmp_path, figures=False)
    assert result.code != 0 and "job 1: " in result.err
    assert sorted(hashes(tmp_path / "s")) == ["0", "2", "3"]
    assert [sorted(done["members"]) for done in history(tmp_path / "s")] == [
        ["0", "1", "2", "3"],
        *[["0", "2", "3"]] * 2,
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_best_of_a_population_is_better_than_the_median_of_fixed_rates(dltrain, tmp_path, capsys):
    """With the same numbers, seeds and steps as runs that keep their numbers."""
    words = ("data=digits", "model=mlp", "model.widths=[16]", "optim=sgd", "epochs=8", "monitor=validation/loss")
    words = (*words, "optim.learning_rate=interval(1e-4,1)", "sweep.trials=8", "quiet=true")
    won = 0
    for seed in range(3):
        scores = {}
        for interval in (1, 99):
            line = ("-m", "sweep=pbt", *words, f"sweep.seed={seed}", f"sweep.interval={interval}")
            result = dltrain(*line, f"output_dir={seed}-{interval}", cwd=tmp_path, figures=False)
            assert result.code == 0, result.err
            runs = (tmp_path / f"{seed}-{interval}").glob("*/summary.json")
            scores[interval] = [json.loads(path.read_text())["best"]["validation"]["loss"] for path in runs]
        won += min(scores[1]) < float(np.median(scores[99]))
        with capsys.disabled():
            print(
                f"seed {seed}: best {min(scores[1]):.4f}; fixed: median {np.median(scores[99]):.4f}, "
                f"best {min(scores[99]):.4f}; members' median {np.median(scores[1]):.4f}"
            )
    with capsys.disabled():
        print(f"the best of the population beats the median of fixed rates in {won} of 3")
    assert won == 3
