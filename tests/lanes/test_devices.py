"""Lanes on several devices: each device trains its own, and nothing else changes."""

import json
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.lanes.meeting import Meeting, Share

SWEEP = """
import sys
import dltrain.sweep.population as populations
import dltrain.sweep.train as sweeping
from dltrain.cli.main import main
from dltrain.lanes.meeting import Meeting
from dltrain.sweep.measure import Choice, divide_lanes

sweeping.choose_lanes = populations.choose_lanes = lambda program, **about: Choice(4, 3, "as tested")
start = Meeting._start

def noted(meeting, share, places, asked):
    new, logs = start(meeting, share, places, asked)
    where = {device.id for state in new for leaf in [state.step] for device in leaf.devices()}
    print("lanes", list(places), "on", sorted(where), file=sys.stderr)
    return new, logs

Meeting._start = noted
sys.exit(main())
"""
SHORT = ("steps=12", "batch_size=32", "quiet=true", "sweep.known=[]")
IRIS = ("-m", "data=iris", "data.split_seed=7", "model=linear", *SHORT)
CASES = {
    "seeds": (*IRIS, "seed=0,1,2,3"),
    "population": (
        *IRIS,
        "sweep=pbt",
        "sweep.trials=4",
        "sweep.interval=1",
        "optim.learning_rate=interval(1e-4,1)",
    ),
}


def test_each_device_computes_its_own_lanes_with_its_copy_of_the_data():
    calls = []

    def chunk(states, data, given, counts):
        calls.append((data["device"], [int(state) for state in states], counts.tolist()))
        return tuple(s + int(n) for s, n in zip(states, counts, strict=True)), {"loss": np.array(counts)[:, None]}

    meeting = Meeting(chunk, [Share({"device": 0}), Share({"device": 1})], 4, steps=8)
    for absent in (0, 1, 3):
        meeting.leave(absent)
    lane = meeting.lane(2)
    assert lane.share == 1
    state, _ = lane(jnp.int32(7), None, np.zeros(1), np.int32(5))
    assert int(state) == 12
    assert calls == [(1, [7, 7], [5, 0])]  # the first device has nothing to do, a copy stands in for lane 3


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_lanes_on_two_devices_train_as_on_one(case, tmp_path):
    found = {}
    for devices in (1, 2):
        env = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        words = [sys.executable, "-c", SWEEP, *CASES[case], f"output_dir={devices}"]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        where = {line for line in done.stderr.splitlines() if line.startswith("lanes")}
        whole, halves = {"lanes [0, 1, 2, 3] on [0]"}, {"lanes [0, 1] on [0]", "lanes [2, 3] on [1]"}
        assert where == (whole if devices == 1 else halves)
        summaries = [json.loads((tmp_path / str(devices) / str(i) / "summary.json").read_text()) for i in range(4)]
        found[devices] = [summary["test"]["loss"] for summary in summaries]
    np.testing.assert_allclose(found[2], found[1], rtol=1e-4)
