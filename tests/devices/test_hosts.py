"""Several processes train like one: same losses, checkpoints and order; a clear end if one of them is lost."""

import json
import signal
from pathlib import Path

import pytest

from dltrain.config.kinds import HOSTS
from dltrain.devices import hosts
from dltrain.errors import ConfigError
from tests.helpers.processes import LONG, SMALL, losses, processes, steps_saved, wait_for

SIGNALLED = (str(Path(__file__).parent.parent / "helpers" / "signalled_process.py"),)


def train(count: int, *words: str, folder: Path, flags: str = "") -> Path:
    """Train in several processes, and return the run folder."""
    run = folder / "run"
    with processes(count, *words, output=folder / "printed", flags=flags) as running:
        assert running.wait() == [0] * count, running.printed(0)
    return run


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, quick_flags: str) -> Path:
    folder = tmp_path_factory.mktemp("two")
    return train(2, *SMALL, "steps=50", f"output_dir={folder}/run", folder=folder, flags=quick_flags)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, quickly) -> Path:
    """The same training in a single process, without `runtime.hosts`."""
    from dltrain.composition.compose import compose_words
    from dltrain.entry import train_config

    words = (*SMALL, "steps=50", f"output_dir={tmp_path_factory.mktemp('one')}/run", "quiet=true")
    with quickly():
        found = train_config(compose_words(*words), overrides=words)
    assert found
    return found.path


def check_equal(run: Path, expected: Path) -> None:
    ours, theirs = losses(run), losses(expected)
    assert sorted(ours) == sorted(theirs)
    assert list(ours.values()) == pytest.approx(list(theirs.values()), rel=1e-5)


def test_two_processes_train_like_one(one: Path, two: Path) -> None:
    assert len(losses(two)) == 50
    check_equal(two, one)
    validation = [json.loads((run / "summary.json").read_text())["validation"]["loss"] for run in (one, two)]
    assert validation[1] == pytest.approx(validation[0], rel=1e-5)


def test_one_process_writes_the_folder(one: Path, two: Path) -> None:
    assert {p.name for p in two.iterdir()} - {p.name for p in one.iterdir()} == {"ranks"}
    assert sorted(p.name for p in (two / "ranks").iterdir()) == ["0.log", "1.log"]
    assert len(list((two / "tensorboard").iterdir())) == 1
    assert "hosts: null" in (two / "config.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("count", "devices", "more"), [(4, 1, ()), (2, 2, ()), (2, 1, ("data.feed=streamed",))])
def test_more_processes_and_streamed_data_train_like_one(
    one: Path, tmp_path: Path, count: int, devices: int, more: tuple[str, ...]
) -> None:
    words = (*SMALL, "steps=50", f"output_dir={tmp_path}/run", *more)
    flags = f"--xla_force_host_platform_device_count={devices}"
    check_equal(train(count, *words, folder=tmp_path, flags=flags), one)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["{fsdp: 2}", "{model: 2}"])
def test_parameters_divided_among_processes(one: Path, tmp_path: Path, mesh: str) -> None:
    words = (*SMALL, "model.widths=[64,64]", "steps=50")
    alone = train(1, *words, f"output_dir={tmp_path}/alone/run", folder=tmp_path / "alone")
    shared = (*words, f"output_dir={tmp_path}/run", f"runtime.mesh={mesh}")
    check_equal(train(2, *shared, folder=tmp_path), alone)


@pytest.mark.slow
def test_resumes_on_other_numbers_of_processes(one: Path, tmp_path: Path) -> None:
    run = train(2, *SMALL, "steps=20", f"output_dir={tmp_path}/run", folder=tmp_path)
    for count, steps in ((1, 30), (4, 40), (2, 50)):
        with processes(count, "resume", str(run), f"steps={steps}", output=tmp_path / str(steps)) as running:
            assert running.wait() == [0] * count, running.printed(0)
    # A schedule keeps the length it began with, so the whole run is compared with one that was also extended.
    words = (*SMALL, "steps=20", f"output_dir={tmp_path}/whole/run")
    whole = train(1, *words, folder=tmp_path / "whole")
    with processes(1, "resume", str(whole), "steps=50", output=tmp_path / "whole50") as running:
        assert running.wait() == [0]
    check_equal(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_signal_to_one_process_saves_and_stops_all(tmp_path: Path, index: int) -> None:
    run = tmp_path / "run"
    with processes(2, *LONG, f"output_dir={run}", output=tmp_path / "printed") as running:
        wait_for(run, running)
        running.started[index].send_signal(signal.SIGTERM)
        assert running.wait(seconds=60) == [143, 143]
        assert f"saved at step {steps_saved(run)[-1]}" in running.printed(0)


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "codes"), [("deciding", {143}), ("ended", {0, 143})])
def test_a_signal_ends_no_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, codes: set[int]
) -> None:
    """The one that got it would leave the others in a sum over all devices, where they wait for it."""
    monkeypatch.setenv("SIGNALLED", moment)
    words = (*SMALL, "steps=100000" if moment == "deciding" else "steps=50", f"output_dir={tmp_path}/run")
    with processes(2, *words, output=tmp_path / "printed", program=SIGNALLED) as running:
        first, second = running.wait(seconds=90)
        assert first == second and first in codes, running.printed(0)
        assert ("interrupted by SIGTERM: saved at step" in running.printed(0)) == (moment == "deciding")


@pytest.mark.slow
@pytest.mark.parametrize(("index", "kind"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (0, signal.SIGSTOP)])
def test_a_lost_process_ends_the_others_by_its_name(tmp_path: Path, index: int, kind: signal.Signals) -> None:
    run = tmp_path / "run"
    with processes(2, *LONG, f"output_dir={run}", output=tmp_path / "printed") as running:
        wait_for(run, running)
        running.started[index].send_signal(kind)
        other = 1 - index
        assert running.started[other].wait(30) == 9
        assert f"process {index}" in running.printed(other).splitlines()[-1]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"coordinator": "127.0.0.1:1234", "count": 2, "index": 0}, "loopback"),
        ({"coordinator": "localhost:1234", "count": 2, "index": 1}, "loopback"),
        ({"coordinator": "node0", "count": 2, "index": 0}, "HOST:PORT"),
        ({"coordinator": "node0:1234", "count": 2, "index": 2}, "must be 0 to 1"),
    ],
)
def test_refuses_a_place_that_cannot_work(place: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        hosts.check_address(HOSTS.parse(place))


def test_a_single_process_decides_alone() -> None:
    assert hosts.agree([1, "x"], "something") == [1, "x"]
    assert hosts.gather(3, "something") == [3]
    assert hosts.agreed_signal("SIGTERM") == "SIGTERM"
    assert (hosts.count(), hosts.index(), hosts.leads()) == (1, 0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-m", "data=iris", "model=linear", "seed=0,1"), "a sweep trains each job in one process"),
        (("find-lr", "data=iris", "model=linear"), "only dltrain and dltrain resume"),
        (("crossval", "data=iris", "model=linear"), "only dltrain and dltrain resume"),
    ],
)
def test_what_trains_in_one_process_refuses_several(dltrain, words, said, tmp_path: Path) -> None:
    result = dltrain(*words, "runtime.hosts=auto", cwd=tmp_path)
    assert result.code == 2 and said in result.err
    assert not list(tmp_path.iterdir())
