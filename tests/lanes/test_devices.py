"""Lanes in several shares, of one device or of several: each is computed by itself, and nothing else changes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

SWEEP = """
import sys
import dltrain.sweep.population as populations
import dltrain.sweep.train as sweeping
from dltrain.cli.main import main
from dltrain.lanes.meeting import Meeting
from dltrain.sweep.measure import Choice

shares = int(sys.argv.pop(1))
sweeping.choose_lanes = populations.choose_lanes = lambda program, **about: Choice(4, 3, "as tested", shares)
compute = Meeting._compute

def noted(meeting, asked):
    compute(meeting, asked)
    where = {device.id for request in asked.values() for device in request.result[0].step.devices()}
    sys.stderr.write(f"lanes {meeting._count} on {sorted(where)}\\n")  # at once: two shares may print together

Meeting._compute = noted
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


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_lanes_in_two_shares_train_as_in_one(case, tmp_path):
    found = {}
    for devices, shares in ((1, 1), (1, 2), (2, 2)):
        env = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        name = f"{devices}-{shares}"
        words = [sys.executable, "-c", SWEEP, str(shares), *CASES[case], f"output_dir={name}"]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        where = {line for line in done.stderr.splitlines() if line.startswith("lanes")}
        assert where == {f"lanes {4 // shares} on [{device}]" for device in range(devices)}
        summaries = [json.loads((tmp_path / name / str(i) / "summary.json").read_text()) for i in range(4)]
        found[devices, shares] = [summary["test"]["loss"] for summary in summaries]
    for other in ((1, 2), (2, 2)):
        np.testing.assert_allclose(found[other], found[1, 1], rtol=1e-4)
