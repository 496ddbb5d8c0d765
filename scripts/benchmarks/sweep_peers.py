"""The same search by dltrain, by hydra-optuna-sweeper and by Ray Tune: wall time and best value.

Each tries 32 learning rates of an MLP on the digits, log-uniform in 1e-4..1e-1. dltrain is one command.
hydra-optuna-sweeper is one command, too, which trains its trials one after the other. Ray Tune starts a process
for each trial, two at a time, which calls `dltrain.fit`; its search is random, as is its default. So the wall times
compare the programs as they are used, not their samplers.
"""

import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import commands
from benchmarks.measure import Setup, Skip, Table

RATE = "optim.learning_rate"
RUN = ("data=digits", "model=mlp", "monitor=validation/loss", "quiet=true")
TUNE = """
import json, sys, time
import ray
from ray import tune
from pathlib import Path
words, trials, place = json.loads(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])

def train(config):
    import dltrain
    number = tune.get_context().get_trial_id()
    run = dltrain.fit(*words, f"optim.learning_rate={config['rate']}", output_dir=str(place / number))
    tune.report({"loss": run.summary["best"]["validation"]["loss"]})

ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
run = tune.RunConfig(storage_path=str(place / "ray"), verbose=0)
how = tune.TuneConfig(num_samples=trials, metric="loss", mode="min")
tune.Tuner(train, param_space={"rate": tune.loguniform(1e-4, 1e-1)}, tune_config=how, run_config=run).fit()
"""


def run(table: Table, setup: Setup) -> None:
    """Time each program once per round, and show the best validation loss that it found."""
    trials, epochs = (2, 1) if setup.tiny else (32, 4)
    words, rate = (*RUN, f"epochs={epochs}"), f"{RATE}=interval(1e-4,1e-1)"
    if not importlib.util.find_spec("optuna"):
        raise Skip("optuna is not installed: pip install 'dltrain[sweep]'")
    search = ("-m", "sweep=tpe", f"sweep.trials={trials}", *words, rate, "output_dir=swept")
    ways = {"dltrain sweep=tpe": commands.dltrain(*search)}
    if importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper"):
        sweeper = ("hydra/sweeper=optuna", "hydra/sweeper/sampler=tpe", "hydra.sweeper.sampler.seed=0")
        counts = (f"hydra.sweeper.n_trials={trials}", "hydra.sweeper.n_jobs=1")
        logged = f"{RATE}=tag(log,interval(1e-4,1e-1))"
        ways["hydra-optuna-sweeper"] = commands.dltrain("-m", *sweeper, *counts, *words, logged, "output_dir=swept")
    else:
        table.skip("sweep-peers: hydra-optuna-sweeper", Skip("not installed: pip install hydra-optuna-sweeper"))
    if importlib.util.find_spec("ray"):
        ways["Ray Tune"] = [sys.executable, "-c", TUNE, json.dumps(words), str(trials), "swept"]
    else:
        table.skip("sweep-peers: Ray Tune", Skip("not installed: pip install 'ray[tune]'"))
    case = f"{trials} trials, {epochs} epochs, MLP on the digits"
    for name, command in ways.items():
        rounds = [_timed(command, trials) for _ in range(1 if setup.tiny else min(setup.rounds, 3))]
        seconds, best = ([pair[i] for pair in rounds] for i in (0, 1))
        table.add("sweep-peers", case, name, "s", seconds)
        table.add("sweep-peers", case, f"{name}, best validation loss", "", best)


def _timed(command: list[str], trials: int) -> tuple[float, float]:
    """Run a command in a folder of its own; return its seconds and the best validation loss of its runs."""
    with tempfile.TemporaryDirectory(prefix="dltrain-bench-") as scratch:
        command = [str(Path(scratch, "swept")) if word == "swept" else word for word in command]
        begun = time.perf_counter()
        commands.run(command, cwd=Path(scratch), RAY_AUTH_MODE="disabled")
        seconds = time.perf_counter() - begun
        found = [json.loads(path.read_text()) for path in Path(scratch, "swept").glob("*/summary.json")]
        if len(found) != trials:
            raise Skip(f"{len(found)} of {trials} trials have ended")
        return seconds, min(summary["best"]["validation"]["loss"] for summary in found)
