"""What all tests share: strict jax settings, small parts to build an engine from, and a table of faults."""

import contextlib
import functools
import gc
import io
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax._src import compiler  # which jax gives no other way to choose options for all programs
from xdist.scheduler import LoadFileScheduling

from dltrain import losses, training
from dltrain.build.parts import Parts
from dltrain.build.plan import Plan
from dltrain.build.program import Program
from dltrain.cli import main as cli
from dltrain.data.augment.chain import Chain
from dltrain.data.order import Pipeline
from dltrain.data.preprocess import Scale, fit
from dltrain.data.split import make_splits
from dltrain.durations import Duration
from dltrain.engine.step import Objective
from dltrain.metrics import Average, Confusion, accuracy
from dltrain.models.layers import Norm
from dltrain.models.mlp import MLP
from dltrain.plots import artist
from dltrain.report import evaluation, finish
from dltrain.sweep import earlier
from dltrain.tasks import Classification
from dltrain.types import Feature, Kind, Spec

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_platforms", "cpu")

if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers share what the process that starts them has made
    CACHE = tempfile.TemporaryDirectory(prefix="dltrain-tests-")
    os.environ["DLTRAIN_CACHE"] = CACHE.name  # what one test has compiled, the next need not

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the processes of tests are interrupted, too
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # as nohup starts what it runs
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after a test the number of threads that a run in this process has chosen."""
    before = os.environ.get("PJRT_NPROC")
    monkeypatch.setenv("PJRT_NPROC", "1")
    if before is None:
        monkeypatch.delenv("PJRT_NPROC")
    else:
        os.environ["PJRT_NPROC"] = before


@pytest.fixture(autouse=True, scope="session")
def no_earlier_sweeps() -> Iterator[None]:
    """Let no sweep take the results of another one next to it: tests train the same several times, to compare."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(earlier, "beside", lambda sweep: [])
        yield


@pytest.fixture
def x64():
    """Compute in float64 for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def spec() -> Spec:
    """Images of 4x4, three classes."""
    return Spec(
        {"image": Feature(Kind.IMAGE, (4, 4, 1), "float32")},
        {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b", "c"))},
        Classification(),
    )


@pytest.fixture(scope="session")
def arrays() -> dict[str, np.ndarray]:
    """Sixty examples whose class can be learned."""
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int32) % 3
    inputs = rng.normal(size=(60, 4, 4, 1)).astype(np.float32)
    inputs[np.arange(60), labels, 0, 0] += 3
    return {"inputs": inputs, "targets": labels}


class InMemory:
    """A source of arrays."""

    fingerprint = "none"
    published: ClassVar = {}

    def __init__(self, spec: Spec, arrays: dict[str, np.ndarray]) -> None:
        self.spec, self._arrays = spec, arrays

    def __len__(self) -> int:
        return len(self._arrays["inputs"])

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value[indices] for name, value in self._arrays.items()}


@pytest.fixture(scope="session")
def make_parts(spec: Spec, arrays: dict[str, np.ndarray]) -> Callable[..., Parts]:
    """Build parts by hand: an MLP with batch norm and dropout, Adam, and the examples in `arrays`."""

    def make(
        *, batch_size: int = 8, seed: int = 0, dropout: float = 0.5, callbacks: tuple = (), **changes
    ) -> Parts:
        splits = make_splits(arrays["targets"], 60, published={}, validation=0.1, test=0.2, seed=0)
        train = splits.train
        parts = {
            "spec": spec,
            "raw_spec": spec,
            "source": InMemory(spec, arrays),
            "arrays": arrays,
            "splits": splits,
            "pipeline": Pipeline(train, batch_size, seed),
            "preprocess": fit(arrays["inputs"][train], arrays["targets"][train], spec=spec, scale=Scale.STANDARD),
            "make_model": lambda rngs: MLP((6,), spec=spec, rngs=rngs, dropout=dropout, norm=Norm.BATCH),
            "objective": Objective(losses.cross_entropy),
            "optimizer": lambda hparams: optax.adam(hparams["learning_rate"]),
            "hparams": {"learning_rate": 0.01},
            "rules": (),
            "schedule": lambda step, total: 1.0 - 0.5 * step / total,
            "augment": Chain({}, spec),
            "metrics": {"accuracy": Average(accuracy), "confusion": Confusion(spec=spec)},
            "accumulate": 1,
            "better": {"loss": "lower", "accuracy": "higher"},
            "callbacks": list(callbacks),
        }
        return Parts(**{**parts, **changes})

    return make


@pytest.fixture(scope="session")
def make_program(make_parts: Callable[..., Parts]) -> Callable[..., Program]:
    """Build a program of such parts."""

    def make(*, total: int = 18, log_every: int = 1, skip_nonfinite: bool = False, **changes) -> Program:
        plan = Plan(
            seed=0,
            total=total,
            eval_batch_size=5,
            log_every=log_every,
            eval_every=Duration(1, "ep"),
            save_every=(Duration(1, "ep"),),
            auto_checkpoint=False,
            splits=("validation",),
            monitor=None,
            patience=None,
            min_delta=0.0,
            stretch=False,
            skip_nonfinite=skip_nonfinite,
            overfit=False,
            profile=False,
        )
        return Program(make_parts(**changes), plan)

    return make


@pytest.fixture(scope="session")
def program(make_program: Callable[..., Program]) -> Program:
    """One program that many tests share, so that it is compiled once."""
    return make_program()


@dataclass
class Count:
    """How often a fault was planted, and how often work was lost or a wrong result was reported as right."""

    fault: str
    tried: int = 0
    survived: int = 0
    more: dict[str, int] = field(default_factory=dict)

    def note(self, **numbers: int) -> None:
        """Add to further counts; those that begin with `most` keep the largest."""
        for name, n in numbers.items():
            before = self.more.get(name, 0)
            self.more[name] = max(before, n) if name.startswith("most") else before + n


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Iterator[Count]:
    """The row of this test in the table that is printed at the end."""
    row = Count(request.node.originalname.removeprefix("test_").replace("_", " "))
    yield row
    content = {"fault": row.fault, "tried": row.tried, "survived": row.survived, **row.more}
    request.node.user_properties.append(("faults", json.dumps(content)))


UNITS = ("activations", "data", "losses", "metrics", "models", "ops", "optimizers", "plots", "tasks")
"""Folders whose files take seconds each. They come last, so that no worker has a long file left at the end."""


TOGETHER = ("tests/inference/ensemble/", "tests/inference/export/", "tests/losses/", "tests/serving/")
"""Folders whose files share what takes seconds to train or to compile: one worker runs all files of one."""


class ByFileOrFolder(LoadFileScheduling):
    """The tests of a file go to one worker, as with `--dist loadfile`, and those of a folder in `TOGETHER`."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Give out tests like this, unless another `--dist` is asked for."""
    return ByFileOrFolder(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that start whole commands first; files and tests otherwise stay in order."""
    tests = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(tests).parts[0] in UNITS)


def pytest_collection_finish() -> None:
    """Look through what was imported only once for garbage; 5 % of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of planted faults: a row for each test that counted them, over all its cases."""
    reports = [r for kind in ("", "failed", "error") for r in terminalreporter.stats.get(kind, [])]  # "": teardowns
    found = [dict(r.user_properties) for r in reports if getattr(r, "when", None) == "teardown"]
    table: dict[tuple[str, str], Count] = {}
    for told in (f for f in found if "faults" in f):
        numbers = json.loads(told["faults"])
        fault, tried, survived = (numbers.pop(name) for name in ("fault", "tried", "survived"))
        row = table.setdefault((fault, told.get("seed", "")), Count(fault))
        row.tried, row.survived = row.tried + tried, row.survived + survived
        row.note(**numbers)
    if not table:
        return
    terminalreporter.section("planted faults")
    terminalreporter.write_line("| fault | tried | survived | lost | seed | |\n|---|---|---|---|---|---|")
    for (fault, seed), row in table.items():
        more = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in row.more.items())
        counted = f"{row.tried} | {row.survived} | {row.tried - row.survived}"
        terminalreporter.write_line(f"| {fault} | {counted} | {seed} | {more} |")


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command line."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def dltrain() -> Callable[..., CommandResult]:
    """Run command lines in this process: `dltrain("epochs=3", cwd=folder)`; see `without_figures`."""

    def run(*words: str, cwd: Path | None = None, figures: bool = True) -> CommandResult:
        out, err = io.StringIO(), io.StringIO()
        here = contextlib.chdir(cwd) if cwd else contextlib.nullcontext()
        with (
            here,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.MonkeyPatch.context() as p,
        ):
            if not figures:
                p.setattr(finish, "draw", lambda *args, **options: None)
                p.setattr(evaluation, "plot_scores", lambda *args: {})
                p.setattr(artist, "start", lambda: None)
            code = cli.main(list(words))
        return CommandResult(code, out.getvalue(), err.getvalue())

    return run


@functools.cache
def quick_options() -> dict[str, Any]:
    """Compiler options with which XLA compiles small programs for CPUs in a sixth of the time."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    simple = {**options, "xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
    try:
        jax.jit(jnp.negative, compiler_options=simple)(1.0)
    except jax.errors.JaxRuntimeError:  # XLA of jax 0.12 has no other way to compile fused loops
        return options
    return simple


@contextlib.contextmanager
def compiling_quickly() -> Iterator[None]:
    """Give these options to every compilation in this process."""
    make, chosen = compiler.get_compile_options, quick_options()

    def options(*args: Any, env_options_overrides: dict[str, Any] | None = None, **others: Any) -> Any:
        return make(*args, env_options_overrides={**chosen, **(env_options_overrides or {})}, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "get_compile_options", options)
        yield


@pytest.fixture(scope="session")
def quick() -> dict[str, Any]:
    """Compiler options for programs that run once."""
    return quick_options()


@pytest.fixture(scope="session")
def quick_flags(quick: dict[str, Any]) -> str:
    """The same as `XLA_FLAGS`, for other processes."""
    return " ".join(f"--{name}={str(value).lower()}" for name, value in quick.items())


@pytest.fixture(scope="session")
def quickly() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Compile as `unoptimised` does inside `with quickly():`, for fixtures that files share."""
    return compiling_quickly


@pytest.fixture
def unoptimised(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compile faster, for programs that run once to compare values; slow tests are compiled as for users."""
    once = request.node.get_closest_marker("slow") is None
    with compiling_quickly() if once else contextlib.nullcontext():
        yield


@pytest.fixture(scope="module")
def quickly_compiled() -> Iterator[None]:
    """As `unoptimised`, for a whole file and the fixtures that its tests share."""
    with compiling_quickly():
        yield


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no figures at the end: half of a short run's time. Those of `digits_run` are tested."""
    monkeypatch.setattr(finish, "draw", lambda *args, **options: None)
    monkeypatch.setattr(evaluation, "plot_scores", lambda *args: {})
    monkeypatch.setattr(artist, "start", lambda: None)


@dataclass(frozen=True)
class Trained:
    """A run that tests may read but not change."""

    folder: Path
    cwd: Path
    result: CommandResult
    program: Program  # as it was when the run ended

    @property
    def summary(self) -> dict:
        return json.loads((self.folder / "summary.json").read_text())


@pytest.fixture(scope="session")
def digits_run(dltrain: Callable[..., CommandResult], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two epochs of a small MLP on the digits, in a folder with spaces and letters outside ASCII."""
    cwd = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        made = []
        patch.setattr(training, "Program", lambda *args: made.append(Program(*args)) or made[-1])
        words = ("model.widths=[16]", "epochs=2", "batch_size=100", "optim.learning_rate=0.02", "log_every=5")
        with compiling_quickly():
            result = dltrain(*words, "output_dir=größe/mein lauf", cwd=cwd)
    assert result.code == 0, result.err
    return Trained(cwd / "größe/mein lauf", cwd, result, made[0])
