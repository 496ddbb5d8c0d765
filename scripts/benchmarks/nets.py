"""The four networks and the data, as overrides for dltrain and as sizes for the other programs."""

import functools
import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Setup

RATE = 1e-3  # of Adam, everywhere


@dataclass(frozen=True)
class Net:
    """A network by its sizes; `channels` makes it convolutional, `hidden` recurrent."""

    name: str
    title: str
    dense: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    kernel: int = 0
    same: bool = False
    hidden: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        """Return the overrides for dltrain."""
        if self.hidden:
            return ("model=lstm", f"model.hidden={self.hidden}")
        if not self.channels:
            return ("model=mlp", f"model.widths={_listed(self.dense)}")
        border = f"model.padding={'same' if self.same else 'valid'}"
        sizes = (f"model.channels={_listed(self.channels)}", f"model.dense={_listed(self.dense)}")
        return ("model=cnn", *sizes, f"model.kernel={self.kernel}", border)


FULL = (
    Net("mlp", "MLP 784-512-512-10", dense=(512, 512)),
    Net("lenet", "LeNet", dense=(500,), channels=(20, 50), kernel=5),
    Net("convnet", "convnet", dense=(1024,), channels=(32, 64), kernel=3, same=True),
    Net("lstm", "LSTM 128", hidden=128),
)
TINY = (
    Net("mlp", "MLP (tiny)", dense=(8, 8)),
    Net("lenet", "LeNet (tiny)", dense=(5,), channels=(2, 3), kernel=5),
    Net("convnet", "convnet (tiny)", dense=(8,), channels=(3, 4), kernel=3, same=True),
    Net("lstm", "LSTM (tiny)", hidden=4),
)
NAMES = tuple(net.name for net in FULL)


def chosen(setup: Setup) -> list[Net]:
    """Return the selected networks."""
    return [net for net in (TINY if setup.tiny else FULL) if setup.wants(net.name, NAMES)]


def batch_size(setup: Setup) -> int:
    """Return the batch size."""
    return 8 if setup.tiny else 128


def data_words(setup: Setup) -> tuple[str, ...]:
    """Return overrides for MNIST if it is available, otherwise for random images with its statistics."""
    folder = Path(os.environ.get("DLTRAIN_DATA", "")) / "mnist"
    if not setup.tiny and os.environ.get("DLTRAIN_DATA") and folder.is_dir():
        return ("data=mnist",)
    return ("data=mnist", f"data.root={_random(240 if setup.tiny else 60_000, 80 if setup.tiny else 10_000).name}")


def data_name(setup: Setup) -> str:
    """Name the data."""
    return "random images with the statistics of MNIST" if len(data_words(setup)) > 1 else "MNIST"


@functools.cache
def _random(train: int, test: int) -> Any:
    """Write idx files: one blob per class, a fifth of the pixels lit, mean near 33; deleted at exit."""
    folder = tempfile.TemporaryDirectory(prefix="dltrain-bench-data-")
    rng = np.random.default_rng(0)
    lit = rng.random((10, 28, 28)) < 0.19
    for name, rows in (("train", train), ("t10k", test)):
        labels = (np.arange(rows) % 10).astype(np.uint8)
        rng.shuffle(labels)
        noise = rng.random((rows, 28, 28), dtype=np.float32) < 0.02
        values = rng.integers(90, 256, (rows, 28, 28), dtype=np.uint8)
        _write(Path(folder.name) / f"{name}-images-idx3-ubyte", np.where(lit[labels] ^ noise, values, 0))
        _write(Path(folder.name) / f"{name}-labels-idx1-ubyte", labels)
    return folder


def _write(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def words(net: Net, setup: Setup, *more: str) -> tuple[str, ...]:
    """Return the overrides of a run of a network."""
    size = f"batch_size={batch_size(setup)}"
    return (*data_words(setup), *net.words, "optim=adam", f"optim.learning_rate={RATE}", size, *more)


def make_program(net: Net, setup: Setup, *more: str) -> Any:
    """Build the program that `dltrain train` runs for a network."""
    return make_program_of(*words(net, setup, *more))


def make_program_of(*words: str) -> Any:
    """Build the program that `dltrain train` runs, on its platform."""
    from dltrain.build.parts import assemble
    from dltrain.build.plan import make_plan
    from dltrain.build.program import Program
    from dltrain.composition.compose import compose_words
    from dltrain.devices import runtime

    config = compose_words(*words).config
    runtime.start(**config["runtime"])
    parts = assemble(config)
    return Program(parts, make_plan(config, parts))


@functools.lru_cache(maxsize=1)  # several programs of one net train on the same
def arrays(program: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the scaled training examples: float32 [N, 28, 28, 1], and labels int32 [N]."""
    parts = program.parts
    rows, scaling = parts.splits.train, parts.preprocess.scaling
    inputs = (parts.arrays["inputs"][rows].astype(np.float32) - scaling.shift) / scaling.scale
    return np.ascontiguousarray(inputs, np.float32), parts.arrays["targets"][rows].astype(np.int32)


def device() -> str:
    """Name the device of jax."""
    import jax

    first = jax.devices()[0]
    return f"{first.platform} {first.device_kind}" if first.platform != "cpu" else f"cpu {platform.machine()}"


def _listed(sizes: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, sizes))}]"
