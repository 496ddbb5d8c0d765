"""The benchmark works: a run of test size fills every row of the table. No time is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"
PARTS = ("data", "forward", "backward", "update", "logging and checks", "whole step", "the last, of bare")


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    from benchmarks import measure

    return measure


def bench(tmp_path: Path, flags: str, *words: str, without: tuple[str, ...] = ()) -> tuple[str, dict]:
    """Run it at test size, compiled with these XLA flags; the modules in `without` cannot be imported."""
    environment = dict(os.environ)
    environment.pop("DLTRAIN_DATA", None)
    environment["XLA_FLAGS"] = flags
    if without:
        (tmp_path / "sitecustomize.py").write_text(
            "import importlib.util as u\nfind = u.find_spec\n"
            f"u.find_spec = lambda name, *more: None if name in {without} else find(name, *more)\n"
        )
        environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environment.get("PYTHONPATH", "")])
    line = [sys.executable, str(SCRIPTS / "bench"), "--test-size", "--json", str(tmp_path / "found.json"), *words]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads((tmp_path / "found.json").read_text())


def rows(found: dict, section: str) -> set[tuple[str, str]]:
    return {(row["case"], row["program"]) for row in found["rows"] if row["section"] == section}


def named(found: dict) -> dict[str, str]:
    return {one["what"]: one["why"] for one in found["skipped"]}


@pytest.mark.slow
def test_every_row_of_one_net_is_measured_and_a_missing_peer_is_skipped_with_a_message(tmp_path, quick_flags):
    text, found = bench(
        tmp_path,
        quick_flags,
        "--only",
        "mlp",
        "steps",
        "share",
        "safety",
        "parts",
        "gpu",
        without=("torch", "keras", "lightning"),
    )
    net = "MLP (tiny)"
    ours = {"dltrain", "bare lax.scan", "Flax NNX (nnx.jit)"}
    assert rows(found, "steps") == {(net, name) for name in ours}
    assert (net, "training / bare lax.scan") in rows(found, "ratio")
    assert (net, "evaluation, not counted") in rows(found, "share")
    assert rows(found, "parts") == {(net, name) for name in PARTS}
    for row in found["rows"]:
        assert row["low"] <= row["median"] <= row["high"]
        assert row["program"] in text
    assert {"cpu", "cores", "load", "python", "jax", "flax", "device", "data"} <= set(found["machine"])
    assert found["test_size"] is True
    assert named(found)[f"steps of {net}, eager"] == "torch is not installed"
    assert named(found)[f"steps of {net}, keras"] == "keras is not installed"
    assert "no GPU" in named(found)["gpu"]


def test_a_command_that_fails_is_reported_with_its_last_output(measure, tmp_path):
    from benchmarks import commands

    with pytest.raises(RuntimeError, match="ended with 3:\nno such luck"):
        commands.run([sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"], cwd=tmp_path)


def test_the_awaited_file_is_seen_before_the_command_ends(measure, tmp_path):
    from benchmarks import commands

    script = "import time; open('found', 'w').write('x'); time.sleep(0.2)"
    ended = commands.run([sys.executable, "-c", script], cwd=tmp_path, awaited=tmp_path / "found")
    assert 0 < ended.first < ended.seconds
    assert ended.memory > 1


def test_programs_take_turns(measure):
    turns = []

    def peer(name: str):
        return measure.Peer(name, lambda n: turns.append(name) or n)

    setup = measure.Setup(rounds=3, seconds=1.0, tiny=True, only=())
    found = measure.alternate([peer("a"), peer("b")], setup)
    assert "".join(turns) == "ab" + 3 * "ab"  # each once to compile, then in turn
    assert {name: len(values) for name, values in found.items()} == {"a": 3, "b": 3}


def test_a_row_gives_median_and_spread(measure):
    row = measure.Table().add("steps", "net", "program", "steps/s", [3, 1, 2, 9]).as_json()
    assert (row["low"], row["median"], row["high"]) == (1, 2.5, 9)


def test_only_a_net_leaves_all_sections_and_only_a_section_all_nets(measure):
    setup = measure.Setup(rounds=1, seconds=1.0, tiny=True, only=("lenet",))
    assert setup.wants("lenet", ("mlp", "lenet")) and not setup.wants("mlp", ("mlp", "lenet"))
    assert setup.wants("share", ("steps", "share"))


@pytest.mark.slow
def test_several_processes_are_measured_next_to_a_bare_step_in_as_many(tmp_path, quick_flags):
    _, found = bench(tmp_path, quick_flags, "--only", "hosts", "mlp")
    names = {"bare jax.jit", "dltrain, processor time", "bare, processor time"}
    own = {1: "dltrain, 1 process", 4: "dltrain, 4 processes"}
    assert rows(found, "hosts") == {(f"MLP (tiny) x{n}", name) for n in (1, 4) for name in (*names, own[n])}
    ratios = {"dltrain / bare jax.jit", "processor, bare / dltrain"}
    assert rows(found, "ratio") == {(f"MLP (tiny) x{n}", name) for n in (1, 4) for name in ratios}


@pytest.mark.slow
def test_every_section_and_net(tmp_path, quick_flags):
    _, found = bench(tmp_path, quick_flags)
    sections = {row["section"] for row in found["rows"]}
    assert {"steps", "ratio", "share", "safety", "parts", "start", "whole"} <= sections
    nets = {f"{name} (tiny)" for name in ("MLP", "LeNet", "convnet", "LSTM")}
    assert {case for case, _ in rows(found, "steps")} == {case for case, _ in rows(found, "share")} == nets
    assert rows(found, "parts") == {(net, name) for net in nets for name in PARTS}
    assert rows(found, "start") >= {("digits", f"first step, {cache} cache") for cache in ("empty", "warm")}


@pytest.mark.slow
def test_the_first_losses_are_those_of_pytorch(tmp_path, quick_flags):
    pytest.importorskip("torch")
    _, found = bench(tmp_path, quick_flags, "--only", "steps", "eager")
    apart = [row["median"] for row in found["rows"] if row["program"] == "first loss, off PyTorch's"]
    assert len(apart) == 4
    assert max(apart) < 1e-4


@pytest.mark.slow
def test_what_is_measured_on_a_gpu_runs_on_any_device(measure):
    from benchmarks import gpu

    table = measure.Table()
    gpu.measure(table, measure.Setup(rounds=1, seconds=1.0, tiny=True, only=()), size=16, widths=(8, 8), batch=16)
    assert {row.program for row in table.rows} >= {
        "copy",
        "matrix product, float32",
        "matrix product, bfloat16",
        "dltrain, float32",
        "of the matrix rate, float32",
    }


def test_the_gain_of_lanes_is_relative_to_a_run_alone_and_drawn(measure, tmp_path):
    from benchmarks.lanes_figure import draw_lanes, gains

    table = measure.Table()
    for program, value in (("alone", 100.0), ("2 lanes", 150.0), ("16 lanes", 300.0)):
        table.add("sweep", "a net", program, "steps/s", [value])
    table.add("sweep", "16 rates", "one command", "s", [10.0])
    rows = [row.as_json() for row in table.rows]
    assert gains(rows) == {"a net": {2: 1.5, 16: 3.0}}
    draw_lanes(rows, tmp_path / "lanes.png")
    assert (tmp_path / "lanes.png").read_bytes().startswith(b"\x89PNG")
