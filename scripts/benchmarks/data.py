"""Examples per second that a source delivers in shuffled batches, next to torch's DataLoader on the same files.

Both read ahead with two workers: threads here, processes there. Torch's programs are those of its tutorials: a data
set that decodes one image, or returns one row of a tensor, per example.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Setup, Skip, Table, ratios, require

WORKERS, BATCH, SIZE = 2, 128, 64
ROUNDS = 3  # at most


def run(table: Table, setup: Setup) -> None:
    """Write a table, images and arrays, and read each of them in turn."""
    rows, images = (2000, 64) if setup.tiny else (500_000, 2000)
    with tempfile.TemporaryDirectory(prefix="dltrain-bench-") as scratch:
        os.environ["DLTRAIN_CACHE"] = f"{scratch}/cache"
        folder = Path(scratch)
        _write_table(folder / "table.csv", rows)
        _write_images(folder / "photos", images)
        _write_arrays(folder / "arrays", rows // 50)
        cases = {
            f"table, {rows:,} rows": (_table(folder / "table.csv"), _torch_table, (folder / "table.csv",)),
            f"images, {images:,} cached": (_images(folder / "photos"), _torch_images, (folder / "photos",)),
            "arrays, 64x64x3": (_arrays(folder / "arrays"), _torch_arrays, (folder / "arrays",)),
        }
        for case, (source, theirs, words) in cases.items():
            _compare(table, setup, case, source, lambda theirs=theirs, words=words: theirs(*words))
        _compare_shards(table, setup, folder, images)


def _compare_shards(table: Table, setup: Setup, folder: Path, count: int) -> None:
    """Decode images whenever they are read: members of tar shards, and files of a folder."""
    sources = {"tar shards": _shards(folder, count), "a folder": _Files(folder / "photos")}
    found: dict[str, list[float]] = {name: [] for name in sources}
    for _ in range(min(setup.rounds, ROUNDS)):
        for name, source in sources.items():
            found[name].append(_rate(lambda source=source: _ours(source), 0.05 if setup.tiny else setup.seconds))
    case = f"images, {count:,} decoded when read"
    for name, rates in found.items():
        table.add("data", case, f"dltrain, {name}", "examples/s", rates)
    table.add("ratio", case, "tar shards / a folder", "x", ratios(*found.values()))


def _compare(table: Table, setup: Setup, case: str, source: Any, theirs: Callable[[], Any]) -> None:
    programs: dict[str, Callable[[], Iterator[int]]] = {"dltrain, read ahead": lambda: _ours(source)}
    try:
        require("torch")
        loader = theirs()
        programs["torch DataLoader"] = lambda: (len(batch[1]) for batch in loader)
    except Skip as reason:
        table.skip(f"data, {case} by torch", reason)
    found: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(min(setup.rounds, ROUNDS)):
        for name, start in programs.items():
            found[name].append(_rate(start, 0.05 if setup.tiny else setup.seconds))
    for name, rates in found.items():
        table.add("data", case, name, "examples/s", rates)
    if len(found) > 1:
        table.add("ratio", case, "dltrain / DataLoader", "x", ratios(*found.values()))


def _rate(start: Callable[[], Iterator[int]], seconds: float) -> float:
    """Return examples per second after the first batch, over as many epochs as it takes."""
    count, began = 0, None
    while True:
        for size in start():
            now = time.perf_counter()
            if began is None:
                began = now
                continue
            count += size
            if now - began > seconds:
                return count / (now - began)


def _ours(source: Any) -> Iterator[int]:
    """One epoch, as the streamed feed of a run reads it."""
    from dltrain.data.order import Pipeline
    from dltrain.engine.feed import Streamed, read_ahead

    pipeline = Pipeline(np.arange(len(source), dtype=np.int32), BATCH, 0)
    ahead = read_ahead(Streamed(source), pipeline, ahead=8, threads=WORKERS, read_timeout=60.0)
    try:
        for step in range(pipeline.steps_per_epoch):
            yield int(ahead.take(step, 1)[0]["mask"].sum())
    finally:
        ahead.close()


def _loader(dataset: Any) -> Any:
    from torch.utils.data import DataLoader

    return DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)


def _write_table(path: Path, rows: int) -> None:
    import polars as pl

    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {f"x{i}": rng.normal(size=rows) for i in range(10)}
    columns["kind"] = rng.choice(np.array(["a", "b", "c"]), rows)
    pl.DataFrame({**columns, "y": rng.normal(size=rows)}).write_csv(path)


def _table(path: Path) -> Any:
    from dltrain.data.sources.table import load_table
    from dltrain.tasks.regression import Regression

    source = load_table(str(path), target="y", task=Regression())
    return source.encode(np.arange(len(source)))[0]


def _torch_table(path: Path) -> Any:
    """Rows of tensors, as in the tutorial on data sets of one's own."""
    import polars as pl
    import torch

    class TableRows(torch.utils.data.Dataset):
        def __init__(self) -> None:
            frame = pl.read_csv(path)
            one_hot = [frame["kind"] == kind for kind in ("a", "b", "c")]
            columns = [*(frame[f"x{i}"] for i in range(10)), *one_hot]
            self.x = torch.tensor(np.stack([column.to_numpy() for column in columns], 1), dtype=torch.float32)
            self.y = torch.tensor(frame["y"].to_numpy(), dtype=torch.float32)

        def __len__(self) -> int:
            return len(self.y)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return self.x[index], self.y[index]

    return _loader(TableRows())


def _write_images(root: Path, count: int) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        path = root / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        small.resize((320, 240), Image.Resampling.BICUBIC).save(path, quality=85)


def _images(root: Path) -> Any:
    from dltrain.data.sources.images import load_images

    return load_images(str(root), size=SIZE)


class _Files:
    """The images of a folder, decoded whenever they are read."""

    def __init__(self, root: Path) -> None:
        from dltrain.data.images.encode import ImageEncoder

        self._paths, self._encoder = sorted(root.glob("*/*.jpg")), ImageEncoder(SIZE)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        paths = [self._paths[i] for i in indices.tolist()]
        images = np.stack([self._encoder.one(path.read_bytes()) for path in paths])
        return {"inputs": images, "targets": np.array([int(path.parent.name == "b") for path in paths], np.int32)}


def _shards(folder: Path, count: int) -> Any:
    """The same images in ten shards."""
    import io
    import tarfile

    from dltrain.data.sources.webdataset import load_webdataset

    (folder / "shards").mkdir()
    for number in range(10):
        with tarfile.open(folder / f"shards/part-{number}.tar", "w") as tar:
            for i in range(number, count, 10):
                image = (folder / "photos" / "ab"[i % 2] / f"{i}.jpg").read_bytes()
                for name, data in ((f"{i:06}.jpg", image), (f"{i:06}.cls", str(i % 2).encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return load_webdataset(str(folder / "shards"), size=SIZE, decode="always")


def _torch_images(root: Path) -> Any:
    """Decodes an image for each example, as torchvision's ImageFolder does with Resize and CenterCrop."""
    import torch
    from PIL import Image, ImageOps

    class Folder(torch.utils.data.Dataset):
        def __init__(self) -> None:
            self.paths: Sequence[Path] = sorted(root.glob("*/*.jpg"))

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            path = self.paths[index]
            with Image.open(path) as image:
                fitted = ImageOps.fit(image.convert("RGB"), (SIZE, SIZE), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(fitted)), int(path.parent.name == "b")

    return _loader(Folder())


def _write_arrays(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.save(folder / "inputs.npy", rng.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8))
    np.save(folder / "targets.npy", rng.integers(0, 10, count))


def _arrays(folder: Path) -> Any:
    from dltrain.data.sources.arrays import load_arrays

    return load_arrays(str(folder))


def _torch_arrays(folder: Path) -> Any:
    import torch

    class Mapped(torch.utils.data.Dataset):
        def __init__(self) -> None:
            self.x = np.load(folder / "inputs.npy", mmap_mode="r")
            self.y = np.load(folder / "targets.npy")

        def __len__(self) -> int:
            return len(self.y)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return torch.from_numpy(np.array(self.x[index])), self.y[index]

    return _loader(Mapped())
