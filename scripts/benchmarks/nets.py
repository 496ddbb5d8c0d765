"""The four nets and the data, as words for dltrain and as plain sizes for the programs beside it."""

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
    """A net by its sizes; `channels` makes it convolutional, `hidden` recurrent."""

    name: str
    title: str
    dense: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    kernel: int = 0
    same: bool = False
    hidden: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        """Return what makes dltrain train it."""
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
    """Return the nets that were asked for."""
    return [net for net in (TINY if setup.tiny else FULL) if setup.wants(net.name, NAMES)]


def batch_size(setup: Setup) -> int:
    """Return the rows of a batch."""
    return 8 if setup.tiny else 128


def data_words(setup: Setup) -> tuple[str, ...]:
    """Return words for MNIST where it is at hand, else for random pictures with its statistics."""
    folder = Path(os.environ.get("DLTRAIN_DATA", "")) / "mnist"
    if not setup.tiny and os.environ.get("DLTRAIN_DATA") and folder.is_dir():
        return ("data=mnist",)
    return ("data=mnist", f"data.root={_random(240 if setup.tiny else 60_000, 80 if setup.tiny else 10_000).name}")


def data_name(setup: Setup) -> str:
    """Say which data it is."""
    return "random pictures with MNIST's statistics" if len(data_words(setup)) > 1 else "MNIST"


@functools.cache
def _random(train: int, test: int) -> Any:
    """Write idx files: a blot a class, a fifth of the pixels lit, mean near 33. The folder goes when we do."""
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
    """Return the words of dltrain's own run of a net."""
    size = f"batch_size={batch_size(setup)}"
    return (*data_words(setup), *net.words, "optim=adam", f"optim.learning_rate={RATE}", size, *more)


def make_program(net: Net, setup: Setup, *more: str) -> Any:
    """Build what `dltrain train` would train of a net."""
    return make_program_of(*words(net, setup, *more))


def make_program_of(*words: str) -> Any:
    """Build what `dltrain train` would train, on the platform where it would."""
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
    """Return the training rows as the net sees them, scaled: float32 [N, 28, 28, 1] and labels int32 [N]."""
    parts = program.parts
    rows, scaling = parts.splits.train, parts.preprocess.scaling
    inputs = (parts.arrays["inputs"][rows].astype(np.float32) - scaling.shift) / scaling.scale
    return np.ascontiguousarray(inputs, np.float32), parts.arrays["targets"][rows].astype(np.int32)


def device() -> str:
    """Name what jax computes on."""
    import jax

    first = jax.devices()[0]
    return f"{first.platform} {first.device_kind}" if first.platform != "cpu" else f"cpu {platform.machine()}"


def _listed(sizes: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, sizes))}]"
