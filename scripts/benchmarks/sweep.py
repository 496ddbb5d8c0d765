"""A sweep over 16 learning rates as one command, next to 16 commands; and what each number of lanes costs.

The commands are timed whole, with their start-up. They train the same runs: their test losses are compared.
"""

import concurrent.futures
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import commands, nets
from benchmarks.measure import Setup, Table, ratios

RATES = tuple(f"{10 ** (-4 + i / 5):.3g}" for i in range(16))
LANES = (1, 2, 4, 8, 16, 32, 64)
DIGITS = ("data=digits", "model=mlp", "quiet=true")
SMALL = {
    "MLP 128-128, digits": ("data=digits", "model=mlp"),
    "CNN, digits": ("data=digits", "model=cnn"),
    "LSTM 64, digits": ("data=digits", "model=lstm", "model.hidden=64"),
    "linear, iris": ("data=iris", "model=linear"),
    "RealMLP, breast cancer": ("data=breast_cancer", "model=realmlp"),
}
LARGE = ("mlp", "lenet", "lstm")  # of the networks that the other benchmarks time, on MNIST


def run(table: Table, setup: Setup) -> None:
    """Time both ways to train 16 rates, and the steps per second of several numbers of lanes."""
    rates, lanes = (RATES[:2], LANES[:2]) if setup.tiny else (RATES, LANES)
    words = (*DIGITS, "epochs=1") if setup.tiny else DIGITS
    ways: dict[str, list[float]] = {name: [] for name in ("one command", "one after the other", "two at a time")}
    for _ in range(1 if setup.tiny else min(setup.rounds, 3)):
        with tempfile.TemporaryDirectory(prefix="dltrain-bench-") as scratch:
            taken, worst = _round(words, rates, Path(scratch))
        for name, seconds in taken.items():
            ways[name].append(seconds)
    case = f"{len(rates)} rates of an MLP on the digits"
    for name, found in ways.items():
        table.add("sweep", case, name, "s", found)
    for name in ("one after the other", "two at a time"):
        table.add("ratio", case, f"{name} / one command", "x", ratios(ways[name], ways["one command"]))
    table.add("sweep", case, "largest difference of a test loss, relative", "", [worst])
    large = {f"{net.title}, MNIST": nets.words(net, setup) for net in nets.chosen(setup) if net.name in LARGE}
    for net, chosen in (SMALL | large).items():
        _lanes(table, setup, net, chosen, lanes)


def _round(words: tuple[str, ...], rates: tuple[str, ...], cwd: Path) -> tuple[dict[str, float], float]:
    """Time each way once, and the one command four times in between, of which the median counts.

    A machine that others share is faster or slower for a minute, and the other ways take one to two minutes.
    Returns the seconds of each way, and the largest difference of a test loss.
    """

    def sweep() -> None:
        swept = f"output_dir=swept-{len(taken)}/jobs"  # apart, so that none takes the results of another
        line = commands.dltrain("-m", *words, f"optim.learning_rate={','.join(rates)}", swept)
        taken.append(commands.run(line, cwd=cwd).seconds)

    def apart(workers: int, some: tuple[str, ...]) -> float:
        lines = [(*words, f"optim.learning_rate={r}", f"output_dir={workers}/{r}") for r in some]
        return _separately(lines, workers, cwd)

    taken: list[float] = []
    half = len(rates) // 2
    sweep()
    alone = apart(1, rates[:half])
    sweep()
    alone += apart(1, rates[half:])
    sweep()
    two = apart(2, rates)
    sweep()
    worst = max(_difference(cwd / "swept-0" / "jobs" / str(i), cwd / "1" / rate) for i, rate in enumerate(rates))
    return {
        "one command": statistics.median(taken),
        "one after the other": alone,
        "two at a time": two,
    }, worst


def _separately(lines: list[tuple[str, ...]], workers: int, cwd: Path) -> float:
    """Return the seconds that these commands take, so many at a time."""
    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda line: commands.run(commands.dltrain(*line), cwd=cwd), lines))
    return time.perf_counter() - start


def _difference(lane: Path, alone: Path) -> float:
    """Return the relative difference of the test losses of a job and of the run alone."""
    found, wanted = (json.loads((path / "summary.json").read_text())["test"]["loss"] for path in (lane, alone))
    return abs(found - wanted) / abs(wanted)


def _lanes(table: Table, setup: Setup, net: str, words: tuple[str, ...], lanes: tuple[int, ...]) -> None:
    from dltrain.build.parts import assemble
    from dltrain.build.plan import make_plan
    from dltrain.build.program import Program
    from dltrain.composition.compose import compose_words
    from dltrain.sweep.measure import divide_among_cores, seconds_alone, seconds_of_lanes

    composed = compose_words(*words)
    parts = assemble(composed.config)
    program = Program(parts, make_plan(composed.config, parts))
    with contextlib.closing(program):
        alone = [1 / seconds_alone(program) for _ in range(setup.rounds)]
        table.add("sweep", net, "alone", "steps/s", alone)
        for count in lanes:
            width, shares = divide_among_cores(count)
            found = [count / seconds_of_lanes(program, width * shares, shares) for _ in range(min(setup.rounds, 3))]
            table.add("sweep", net, f"{count} lanes", "steps/s", found)
