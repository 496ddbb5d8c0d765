"""A run on a table, with texts and images, is evaluated again with equal bits, from files, Python and streamed."""

import json

import numpy as np
import polars as pl
import pytest
from few import few
from tiny_images import encoded

import dltrain as package
from dltrain.errors import DataError

pytestmark = pytest.mark.usefixtures("quickly_compiled")

LINE = (
    "data=table data.path=train.csv data.test_path=test.csv model=mlp model.widths=[4] quiet=false seed=1 epochs=2 "
)
LINE += (
    "batch_size=16 early_stopping.patience=null data.on_bad=skip data.most_bad=0.1 optim=adam schedule=constant "
)
LINE += "data.image.size=8"
RUNS = {
    "classes": ("data.target=kind", "data.positive=ham", "data.feed=resident"),
    "streamed": ("data.target=kind", "data.positive=ham", "data.feed=streamed"),
    "numbers": ("data.target=[price,rent]", "data.meanings={kind:ignored}", "data.feed=streamed"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    for i in range(6):
        (folder / f"{i}.png").write_bytes(encoded(rng.integers(0, 256, (9, 12, 3), np.uint8)))
    for name, count in (("train", 120), ("test", 30)):
        rooms = rng.integers(1, 6, count)
        frame = pl.DataFrame(
            {
                "rooms": [None if i % 9 == 4 else int(n) for i, n in enumerate(rooms)],
                "city": rng.choice(["Rome", "Paris", "Oslo"] if name == "train" else ["Rome", "Lima"], count),
                "sold": [f"2020-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(count)],
                "about": [f"a {'large' if n > 3 else 'small'} flat with {n} rooms" for n in rooms],
                "photo": [f"{n}.png" if i % 7 else None for i, n in enumerate(rooms)],
                "price": rooms * 100.0 + rng.normal(size=count).round(2),
                "rent": rooms * 3.5,
                "kind": ["spam" if n > 3 else "ham" for n in rooms],
            }
        )
        text = frame.write_csv()
        (folder / f"{name}.csv").write_text(text + ("1,2,3\n" if name == "train" else ""))
    return folder


@pytest.fixture(scope="module")
def runs(folder, dltrain):
    done = {
        name: dltrain(*LINE.split(), *words, f"output_dir={name}", cwd=folder, figures=False)
        for name, words in RUNS.items()
        if name != "streamed"
    }
    assert all(result.code == 0 for result in done.values()), [result.err for result in done.values()]
    return {name: result.out for name, result in done.items()}


@pytest.fixture(scope="module")
def streamed(folder, dltrain):
    result = dltrain(*LINE.split(), *RUNS["streamed"], "output_dir=streamed", cwd=folder, figures=False)
    assert result.code == 0, result.err


def test_columns_and_what_was_left_out_are_shown_and_kept(runs, folder):
    shown = runs["classes"].replace("  ", " ")
    for word in (
        "kind target 2 classes",
        "rooms number",
        "city category",
        "sold date",
        "about text",
        "photo image names of image files",
        "1 of 151 rows",
    ):
        assert word in " ".join(shown.split()), word
    assert (
        (folder / "classes" / "bad_rows.csv")
        .read_text()
        .splitlines()[1]
        .endswith('train.csv,line 122,,"found 3 fields, expected 8 (comma-separated), as the header has"')
    )
    assert "bad_rows.csv" in (folder / "classes" / "written.txt").read_text()


@few("name", RUNS, ("classes",))
def test_evaluating_again_gives_the_metrics_of_the_run(runs, name, folder, monkeypatch, request):
    if name == "streamed":
        request.getfixturevalue("streamed")
    monkeypatch.chdir(folder)
    summary = json.loads((folder / name / "summary.json").read_text(encoding="utf-8"))
    run = package.open_run(name, checkpoint="last")
    frame = pl.read_csv("test.csv")
    targets = frame.select("price", "rent").to_numpy() if name == "numbers" else frame["kind"].to_list()
    given = frame if name == "streamed" else frame.to_dicts()
    for found in (run.evaluate("test"), run.bundle.evaluate(given, targets)):
        assert {key: value for key, value in found.items() if np.ndim(value) == 0} == summary["test"]


@pytest.mark.slow
def test_streamed_and_resident_runs_end_with_the_same_state(runs, streamed, folder):
    hashes = [json.loads((folder / name / "summary.json").read_text())["hash"] for name in ("classes", "streamed")]
    assert hashes[0] == hashes[1]


def test_new_rows_may_be_unseen_and_missing(runs, folder, monkeypatch):
    monkeypatch.chdir(folder)
    run = package.open_run("numbers")
    row = {"rooms": None, "city": "Atlantis", "sold": None, "about": None, "photo": None}
    assert run.outputs(row).shape == (1, 2) and np.isfinite(run.outputs([row, row])).all()
    assert np.array_equal(
        run.outputs(row | {"rooms": "?", "sold": "2020-01-01"}), run.outputs([row | {"sold": "2020-01-01"}])
    )
    with pytest.raises(DataError, match="the column about is missing"):
        run.outputs({"rooms": [1], "city": ["Rome"], "sold": ["2020-01-01"], "photo": [None]})
