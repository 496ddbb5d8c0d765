"""Small runs on a table, images, texts and series of files, for tests of what is done with trained models."""

import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from tiny_images import encoded

COMMON = (
    "quiet=true",
    "epochs=2",
    "batch_size=16",
    "early_stopping.patience=null",
    "optim=adam",
    "schedule=constant",
)
LINES = {
    "table": (
        *("data=table", "data.path=houses.csv", "data.target=kind", "data.positive=large", "model=mlp"),
        *("model.widths=[4]", "data.meanings={built:date,price:ignored}"),
    ),
    "values": (
        *("data=table", "data.path=houses.csv", "data.target=price", "model=mlp", "model.widths=[4]"),
        *("data.meanings={kind:ignored}", "loss=quantile", "loss.q=[0.1,0.5,0.9]"),
    ),
    "images": (
        *("data=images", "data.path=photos", "data.size=8", "model=linear", "augment=none", "optim.ema=null"),
        "metrics=[accuracy]",
    ),
    "text": ("data=text", "data.path=texts.csv", "data.text=text", "data.target=kind", "data.vocabulary_size=64"),
    "series": (
        *("data=series", "data.path=series.csv", "data.time=when", "data.id=shop", "data.look_back=8"),
        *("data.horizon=3", "data.calendar=true", "model=mlp", "model.widths=[4]"),
    ),
}


def write_files(folder: Path) -> None:
    """Write the data."""
    rng = np.random.default_rng(0)
    houses(120, rng).write_csv(folder / "houses.csv")
    for kind, level in (("dark", 60), ("light", 190)):
        (folder / "photos" / kind).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(level - 40, level + 40, (9, 12, 3)).astype(np.uint8)
            (folder / "photos" / kind / f"{i:02}.png").write_bytes(encoded(pixels))
    words = ["win", "money", "now", "hello", "friend", "lunch"]
    with (folder / "texts.csv").open("w", encoding="utf-8") as file:
        file.write("text,kind\n")
        for i in range(60):
            some = rng.choice(words[:3] if i % 2 else words[3:], 3)
            file.write(f'"{" ".join(some)}, {rng.choice(words)}",{"spam" if i % 2 else "ham"}\n')
    series(60).write_csv(folder / "series.csv")


def houses(count: int, rng: np.random.Generator) -> pl.DataFrame:
    """Return rows of a table with numbers, categories, dates, missing values and identifiers."""
    rooms = rng.integers(1, 6, count)
    return pl.DataFrame(
        {
            "id": [f"h{i:04}" for i in range(count)],
            "rooms": [None if i % 9 == 4 else int(n) for i, n in enumerate(rooms)],
            "size": (rooms * 20 + rng.normal(size=count) * 5).round(1),
            "town": rng.choice(["Ulm", "Bonn", "Kiel"], count),
            "built": [f"19{50 + i % 50}-0{1 + i % 9}-11" for i in range(count)],
            "kind": ["large" if n > 3 else "small" for n in rooms],
            "price": (rooms * 50 + rng.normal(size=count) * 5).round(2),
        }
    )


def series(count: int) -> pl.DataFrame:
    """Return rows of two series, hour by hour."""
    rng, start = np.random.default_rng(1), datetime.datetime(2024, 1, 1)
    times = [start + datetime.timedelta(hours=i) for i in range(count)]
    waves = {name: (np.sin(np.arange(count) / 4) + k + rng.normal(size=count) * 0.1) for k, name in enumerate("ab")}
    parts = [pl.DataFrame({"when": times, "shop": [n] * count, "sales": w.round(3)}) for n, w in waves.items()]
    return pl.concat(parts)


def train(dltrain: Callable[..., object], folder: Path, *names: str) -> None:
    """Train the runs of these names, into folders of their names."""
    for name in names:
        found: object = dltrain(*LINES[name], *COMMON, f"output_dir={name}", cwd=folder, figures=False)
        assert found.code == 0, found.err  # ty: ignore[unresolved-attribute]
