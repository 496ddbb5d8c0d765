"""Two served runs: a table with numbers, dates, levels, texts and images, and images of digits."""

import functools
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_images import encoded

import dltrain as package
from dltrain.serving.limits import Limits
from dltrain.serving.open import served_run
from dltrain.serving.settings import Settings

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from dltrain.serving.server import serving

LINE = (
    "data=table data.path=train.csv data.target=kind model=mlp model.widths=[4] epochs=2 batch_size=16 quiet=true"
)


@pytest.fixture(scope="module", autouse=True)
def _quick(quickly_compiled):
    """Programs of these tests run once."""


@pytest.fixture(scope="session")
def table(dltrain, quickly, tmp_path_factory):
    """A run on a table."""
    folder, rng = tmp_path_factory.mktemp("served"), np.random.default_rng(0)
    for i in range(4):
        (folder / f"{i}.png").write_bytes(encoded(rng.integers(0, 256, (9, 12, 3), np.uint8)))
    rooms = rng.integers(1, 4, 60)
    frame = pl.DataFrame(
        {
            "rooms": [None if i % 9 == 4 else int(n) for i, n in enumerate(rooms)],
            "city": rng.choice(["Rome", "Paris", "Oslo"], 60),
            "sold": [f"2020-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(60)],
            "about": [f"a {'large' if n > 2 else 'small'} flat with {n} rooms" for n in rooms],
            "photo": [f"{n}.png" if i % 7 else None for i, n in enumerate(rooms)],
            "kind": [("small", "middle", "large")[n - 1] for n in rooms],
        }
    )
    frame.write_csv(folder / "train.csv")
    with quickly():
        result = dltrain(*LINE.split(), "data.image.size=8", "output_dir=flats", cwd=folder, figures=False)
    assert result.code == 0, result.err
    return package.open_run(folder / "flats")


@pytest.fixture(scope="session")
def digits(dltrain, quickly, tmp_path_factory):
    """A run on images, in a folder with a space."""
    folder = tmp_path_factory.mktemp("digits")
    words = ("data=digits", "model=mlp", "model.widths=[16]", "epochs=2", "batch_size=100", "quiet=true")
    with quickly():
        result = dltrain(*words, "optim.learning_rate=0.02", "output_dir=mein lauf", cwd=folder, figures=False)
    assert result.code == 0, result.err
    return package.open_run(folder / "mein lauf")


@pytest.fixture(scope="session")
def flats(table) -> list[dict]:
    """Rows for the table's model; `photo` is the path of a file."""
    rng, folder = np.random.default_rng(1), table.path.parent
    return [
        {
            "rooms": None if i % 5 == 3 else int(rng.integers(1, 4)),
            "city": str(rng.choice(["Rome", "Paris", "Oslo", "Lima"])),
            "sold": f"2021-0{1 + i % 9}-11",
            "about": None if i % 7 == 2 else f"a flat with {i} rooms",
            "photo": str(folder / f"{i % 4}.png") if i % 3 else None,
        }
        for i in range(40)
    ]


@pytest.fixture(scope="session")
def serve_it():
    """`serve_it(run, **limits)`: serve a run in another thread; what it warns of fails the test."""

    def start(run, *, batch: int = 4, token: str | None = None, delay: float = 0.0, **limits):
        warnings: list[str] = []
        settings = Settings(port=0, batch=batch, token=token, delay=delay, limits=Limits(**limits))
        return _checked(serving(run, settings, warn=warnings.append), warnings)

    return start


class _checked:
    def __init__(self, inner, warnings: list[str]) -> None:
        self._inner, self._warnings = inner, warnings

    def __enter__(self) -> str:
        return self._inner.__enter__()

    def __exit__(self, *error) -> None:
        self._inner.__exit__(*error)
        assert not self._warnings, self._warnings


class Compiled:
    """A served model that compiles once for all servers of the tests."""

    def __init__(self, run, quickly) -> None:
        self._model, self._quickly, self.run = served_run(run), quickly, run
        self.compile = functools.cache(self._compile)

    def _compile(self, size: int):
        with self._quickly():
            return self._model.compile(size)

    def __getattr__(self, name: str):
        return getattr(self._model, name)


@pytest.fixture(scope="session")
def flats_model(table, quickly):
    return Compiled(table, quickly)


@pytest.fixture(scope="session")
def digits_model(digits, quickly):
    return Compiled(digits, quickly)


@pytest.fixture(scope="session")
def table_url(flats_model, serve_it):
    with serve_it(flats_model) as url:
        yield url


@pytest.fixture(scope="session")
def digits_url(digits_model, serve_it):
    with serve_it(digits_model, rows=50, body=1 << 16) as url:
        yield url


@pytest.fixture
def image() -> bytes:
    """An image file."""
    return encoded(np.random.default_rng(5).integers(0, 256, (20, 30, 3), np.uint8))


@pytest.fixture
def folder_of(table) -> Path:
    return table.path.parent
