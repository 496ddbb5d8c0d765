"""Predictions for files are those of the model for the same examples, in their order, whatever the format."""

import io
import json

import numpy as np
import own_runs
import polars as pl
import pytest
from PIL import Image
from tiny_images import encoded

import dltrain as package
from dltrain.data.tables import stream
from dltrain.errors import ConfigError, DataError, DiskError
from dltrain.inference.predict import OnBad


@pytest.fixture(scope="module")
def folder(tmp_path_factory, dltrain):
    folder = tmp_path_factory.mktemp("predict")
    own_runs.write_files(folder)
    own_runs.train(dltrain, folder, *own_runs.LINES)
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    return {name: package.open_run(folder / name) for name in own_runs.LINES}


@pytest.fixture
def new():
    return own_runs.houses(30, np.random.default_rng(5)).drop("kind", "price")


def same(found: pl.DataFrame, expected: dict[str, np.ndarray], *, places=None) -> None:
    """Compare columns of a file with those of `Predictions.columns`; `places` are those of valid examples."""
    for name, values in expected.items():
        column = found[name].to_numpy() if places is None else found[name].gather(places).to_numpy()
        if values.dtype == object:
            assert column.tolist() == values.tolist()
        else:
            np.testing.assert_allclose(column.astype(np.float64), values, rtol=1e-5, atol=1e-7)


WRITTEN = {
    "csv": lambda frame, path: frame.write_csv(path),
    "tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    "parquet": lambda frame, path: frame.write_parquet(path),
    "jsonl": lambda frame, path: frame.write_ndjson(path),
    "feather": lambda frame, path: frame.write_ipc(path),
}


@pytest.mark.parametrize("ending", WRITTEN)
def test_rows_of_every_format_in_any_order_of_columns(ending, runs, new, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "PART", 300)  # several blocks
    monkeypatch.setattr(stream, "ROWS", 7)
    shuffled = new.select(sorted(new.columns, reverse=True)).with_columns(note=pl.lit("x"))
    WRITTEN[ending](shuffled, tmp_path / f"new.{ending}")
    done = runs["table"].predict_file(tmp_path / f"new.{ending}", str(tmp_path / "out.csv"))
    found = pl.read_csv(tmp_path / "out.csv")
    first = {"csv": 2, "tsv": 2}.get(ending, 1)
    unit = "row" if ending in ("parquet", "feather") else "line"
    assert found.columns == [unit, "id", "class", "probability_small", "probability_large"]
    assert found[unit].to_list() == list(range(first, first + 30))
    assert found["id"].to_list() == new["id"].to_list()
    same(found, runs["table"].predict(new).columns)
    assert done.count == 30 and not done.bad and done.notes == ["1 column is not used: note"]


READ = {
    "csv": pl.read_csv,
    "parquet": pl.read_parquet,
    "jsonl": pl.read_ndjson,
}


@pytest.mark.parametrize("ending", READ)
def test_every_output_has_the_same_content_and_empty_places_for_bad_rows(ending, runs, new, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "SMALL", 100)  # mapped, as large files are
    monkeypatch.setattr(stream, "PART", 300)
    lines = new.write_csv().splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[2], "big")
    lines[7] = "too,short"
    lines[29] = lines[29].replace(lines[29].split(",")[4], "long ago")
    (tmp_path / "new.csv").write_text("\n".join(lines))
    done = runs["values"].predict_file(tmp_path / "new.csv", str(tmp_path / f"out.{ending}"))
    found = READ[ending](tmp_path / f"out.{ending}")
    good = [i for i in range(30) if i not in (2, 6, 28)]
    assert found.columns == ["line", "id", "price", "price_q0.1", "price_q0.5", "price_q0.9"]
    assert found["price"].is_null().to_list() == [i in (2, 6, 28) for i in range(30)]
    assert found["line"].to_list() == list(range(2, 32))
    assert found["id"].to_list() == [None if i == 6 else f"h{i:04}" for i in range(30)]
    same(found, runs["values"].predict(new[good]).columns, places=good)
    assert [(bad.row, bad.column) for bad in done.bad] == [("line 4", "size"), ("line 8", ""), ("line 30", "built")]
    assert "found 'big', expected a number" in str(done.bad[0])


def test_arrays_are_written_as_the_task_decides(runs, new, tmp_path):
    new.write_csv(tmp_path / "new.csv")
    runs["values"].predict_file(tmp_path / "new.csv", str(tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz") as found:
        expected = runs["values"].predict(new)
        assert found["id"].tolist() == new["id"].to_list() and found["valid"].all()
        for name in ("value", "low", "high", "quantiles"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    arrays = runs["values"].bundle.encode(new)
    np.savez(tmp_path / "new.npz", **arrays)
    runs["values"].predict_file(tmp_path / "new.npz", str(tmp_path / "again.csv"))
    same(pl.read_csv(tmp_path / "again.csv"), expected.columns)


def test_what_training_did_not_have_is_counted_and_said(runs, new, tmp_path):
    odd = new.with_columns(
        pl.when(pl.int_range(30) % 10 == 0).then(pl.lit("Oslo")).otherwise(pl.col("town")).alias("town"),
        pl.when(pl.int_range(30) == 4).then(None).otherwise(pl.col("size")).alias("size"),
    )
    odd.write_parquet(tmp_path / "odd.parquet")
    done = runs["table"].predict_file(tmp_path / "odd.parquet", str(tmp_path / "out.csv"))
    size, town = done.notes
    assert size.startswith("column size: 1 values missing") and "the training median, " in size
    assert town == "column town: 3 values not seen in training, which count as unknown, such as Oslo"
    assert pl.read_csv(tmp_path / "out.csv")["class"].null_count() == 0


def test_images_of_a_folder_a_table_and_python(runs, folder, tmp_path):
    rng = np.random.default_rng(3)
    pixels = [rng.integers(0, 256, (11, 7 + i, 3)).astype(np.uint8) for i in range(5)]
    for i, image in enumerate(pixels):
        path = tmp_path / ("new" if i < 3 else "new/more") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image))
    (tmp_path / "new" / "broken.jpg").write_bytes(b"\xff\xd8\xff no")
    run = runs["images"]
    done = run.predict_file(tmp_path / "new", str(tmp_path / "out.csv"))
    found = pl.read_csv(tmp_path / "out.csv")
    assert found["file"].to_list() == ["0.png", "1.png", "2.png", "broken.jpg", "more/3.png", "more/4.png"]
    assert [bad.file for bad in done.bad] == [str(tmp_path / "new" / "broken.jpg")]
    expected = run.predict([Image.fromarray(image) for image in pixels]).columns
    same(found, expected, places=[0, 1, 2, 4, 5])
    same(pl.DataFrame(run.predict([encoded(image) for image in pixels]).columns), expected)
    for given in (pixels, {"image": pixels}):
        same(pl.DataFrame(run.predict(given).columns), expected)
    for given in ({"odd": pixels}, {"odd": 1}):
        with pytest.raises(DataError, match="inputs: odd is not known; the inputs of the model are image"):
            run.predict(given)
    (tmp_path / "new" / "files.csv").write_text("photo\n0.png\nmore/3.png\nlost.png\n")
    done = run.predict_file(tmp_path / "new" / "files.csv", str(tmp_path / "files.csv"))
    same(pl.read_csv(tmp_path / "files.csv"), {n: v[[0, 3]] for n, v in expected.items()}, places=[0, 1])
    assert len(done.bad) == 1 and "lost.png" in str(done.bad[0])
    run.predict_file(tmp_path / "new" / "0.png", str(tmp_path / "one.csv"))
    same(pl.read_csv(tmp_path / "one.csv"), {n: v[:1] for n, v in expected.items()})


def test_texts_of_a_table_lines_a_folder_and_python(runs, tmp_path):
    texts = ["win money now", "hello friend", "", "entirely different, unseen"]
    expected = runs["text"].predict(texts).columns
    pl.DataFrame({"more": [1, 2, 3, 4], "text": texts}).write_csv(tmp_path / "table.csv")
    (tmp_path / "lines.txt").write_text("\n".join(texts) + "\n")
    (tmp_path / "folder").mkdir()
    for i, text in enumerate(texts):
        (tmp_path / "folder" / f"{i}.txt").write_text(text)
    for name, id in (("table.csv", "line"), ("lines.txt", "line"), ("folder", "file")):
        runs["text"].predict_file(tmp_path / name, str(tmp_path / "out.csv"), overwrite=True)
        found = pl.read_csv(tmp_path / "out.csv")
        same(found, expected)
        assert id in found.columns
    runs["text"].predict_file(tmp_path / "table.csv", str(tmp_path / "out.csv"), keep=["more"], overwrite=True)
    assert pl.read_csv(tmp_path / "out.csv")["more"].to_list() == [1, 2, 3, 4]
    for name in ("lines.txt", "folder"):
        with pytest.raises(ConfigError, match="keep=more: only columns of a table can be kept"):
            runs["text"].predict_file(tmp_path / name, str(tmp_path / "out.csv"), keep=["more"])


def test_a_forecast_begins_after_the_last_rows_of_each_series(runs, tmp_path):
    rows = own_runs.series(40)
    short = pl.DataFrame({"when": rows["when"][:3], "shop": ["c"] * 3, "sales": [1.0] * 3})
    pl.concat([rows, short]).write_csv(tmp_path / "new.csv")
    run = runs["series"]
    done = run.predict_file(tmp_path / "new.csv", str(tmp_path / "out.csv"))
    found = pl.read_csv(tmp_path / "out.csv", try_parse_dates=True)
    assert found["shop"].to_list() == [*"aaabbbccc"] and found["step"].to_list() == [1, 2, 3] * 3
    assert found["when"][:3].dt.hour().to_list() == [16, 17, 18] and found["when"][0].day == 2
    assert found["sales"].is_null().to_list() == [False] * 6 + [True] * 3
    assert "the series c has 3 rows, and the model needs the last 8" in str(done.bad[0])
    run.predict_file(tmp_path / "new.csv", str(tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["when"].shape == (3, 3) and arrays["valid"].tolist() == [True, True, False]
        assert arrays["when"][0].astype("datetime64[h]").tolist() == found["when"][:3].to_list()
    past = rows["sales"].to_numpy().reshape(2, 40)[:, -8:, None].astype(np.float32)
    known = run.bundle.encode(rows)["known"]
    expected = run.predict({"past": past, "known": known})["value"]
    np.testing.assert_allclose(found["sales"][:6].to_numpy(), expected.reshape(-1), rtol=1e-5)


@pytest.mark.slow
def test_a_file_may_have_a_header_that_the_training_file_had_not(dltrain, tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"a": rng.normal(size=40), "b": rng.normal(size=40), "y": rng.normal(size=40)})
    frame.write_csv(tmp_path / "train.csv", include_header=False)
    words = ("data=table", "data.path=train.csv", "data.target=y", "data.columns=[a,b,y]", "model=linear")
    line = (*words, "epochs=1", "quiet=true", "output_dir=run", "task=regression")
    assert dltrain(*line, cwd=tmp_path, figures=False).code == 0
    run, new = package.open_run(tmp_path / "run"), frame.select("b", "a")
    new.write_csv(tmp_path / "header.csv")
    frame.select("a", "b").write_csv(tmp_path / "none.csv", include_header=False)
    frame.write_csv(tmp_path / "all.csv", include_header=False)
    for name in ("header", "none", "all"):
        done = run.predict_file(tmp_path / f"{name}.csv", str(tmp_path / "out.csv"), overwrite=True)
        assert done.count == 40 and not done.bad
        same(pl.read_csv(tmp_path / "out.csv"), run.predict(new).columns)


@pytest.mark.slow
def test_sequences_are_told_apart_by_their_column(dltrain, tmp_path):
    rng = np.random.default_rng(0)
    rows = [(i, step, rng.normal() + 3 * (i % 2)) for i in range(40) for step in range(2 + i % 4)]
    frame = pl.DataFrame(rows, schema=["who", "step", "x"], orient="row")
    target = frame.with_columns(pl.col("who").mod(2).replace_strict({0: "even", 1: "odd"}).alias("kind"))
    target.write_csv(tmp_path / "train.csv")
    words = ("data=sequences", "data.path=train.csv", "data.id=who", "data.target=kind", "data.time=step")
    line = (
        *words,
        "task=classification",
        "model=gru",
        "model.hidden=4",
        "epochs=1",
        "quiet=true",
        "output_dir=run",
    )
    assert dltrain(*line, cwd=tmp_path, figures=False).code == 0
    run = package.open_run(tmp_path / "run")
    some = frame.filter(pl.col("who").is_between(1, 3)).sample(fraction=1.0, shuffle=True, seed=1)
    some.write_csv(tmp_path / "new.csv")
    run.predict_file(tmp_path / "new.csv", str(tmp_path / "out.csv"))
    found = pl.read_csv(tmp_path / "out.csv")
    assert found["who"].to_list() == some["who"].unique(maintain_order=True).to_list()
    same(found, run.predict(some).columns)
    one = run.predict(frame.filter(who=3))["probabilities"]
    place = found["who"].to_list().index(3)
    assert abs(found["probability_odd"][place] - one[0, 1]) < 1e-6


def test_nothing_is_left_of_what_cannot_be_completed(runs, new, tmp_path, monkeypatch):
    new.write_csv(tmp_path / "new.csv")
    (tmp_path / "bad.csv").write_text(new.write_csv().replace("Ulm", "Ulm,"))
    run, output = runs["table"], str(tmp_path / "out.csv")
    for name, error, message, options in (
        ("missing.csv", DataError, "no such file or folder", {}),
        ("bad.csv", DataError, "found 6 fields, expected 5", {"on_bad": OnBad.ERROR}),
        ("new.csv", DataError, "has no column lost", {"keep": ["lost"]}),
        ("new.csv", DiskError, "cannot be written", {"output": str(tmp_path / "none" / "out.csv")}),
        ("new.csv", ConfigError, "must end in .csv", {"output": str(tmp_path / "out.xlsx")}),
    ):
        options = {"output": output, **options}
        with pytest.raises(error, match=message):
            run.predict_file(tmp_path / name, options.pop("output"), **options)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "new.csv"]
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(ConfigError, match="exists; overwrite=true replaces it"):
        run.predict_file(tmp_path / "new.csv", output)
    assert (tmp_path / "out.csv").read_text() == "mine"
    new.drop("town").write_csv(tmp_path / "less.csv")
    with pytest.raises(DataError, match=r"less.csv: has no column town \(columns: id, "):
        run.predict_file(tmp_path / "less.csv", output, overwrite=True)
    (tmp_path / "worst.csv").write_text("a,rooms,size,town,built\n" + "b,x,y,z,w\n" * 3)
    with pytest.raises(DataError, match="all examples are bad"):
        run.predict_file(tmp_path / "worst.csv", output, overwrite=True)
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_the_command_reads_stdin_and_prints_csv(dltrain, folder, new, runs, monkeypatch, tmp_path):
    class Stdin:
        buffer = io.BytesIO(new.write_csv().encode())

    monkeypatch.setattr("sys.stdin", Stdin)
    found = dltrain("predict", str(folder / "table"), "input=-", f"output={tmp_path}/out.csv", "keep=[town]")
    assert found.code == 0 and "30 examples" in found.out
    table = pl.read_csv(tmp_path / "out.csv")
    assert table["town"].to_list() == new["town"].to_list()
    same(table, runs["table"].predict(new).columns)


def test_bad_rows_are_printed_and_listed(dltrain, folder, new, tmp_path):
    (tmp_path / "new.csv").write_text(new.write_csv() + "x,y\n")
    said = dltrain("predict", str(folder / "table"), "input=new.csv", cwd=tmp_path)
    assert said.code == 0 and "1 of 31 examples have empty predictions" in said.err and "line 32" in said.err
    assert "line 32" in (tmp_path / "predictions.bad_rows.csv").read_text()
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 32
    assert dltrain("predict", str(folder / "table"), cwd=tmp_path).code == 2


def test_json_of_one_row_is_enough(runs, new):
    row = json.loads(new[0].write_ndjson())
    one, all_rows = runs["table"].predict(row), runs["table"].predict(new)
    np.testing.assert_allclose(one["probability"], all_rows["probability"][:1], rtol=1e-5)
    assert runs["table"].predict([row, row])["class"].shape == (2,)
