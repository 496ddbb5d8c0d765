"""Each thing that `dltrain inspect` finds, planted in a table or a folder, and nothing found in clean data."""

import csv

import numpy as np
import polars as pl
import pytest
from PIL import Image

from dltrain.data.quality.columns import column_findings, missing_findings
from dltrain.data.quality.finding import What, ordered
from dltrain.data.quality.leaks import imbalance_findings, leak_findings
from dltrain.data.quality.rows import date_findings, row_findings
from dltrain.data.split import Splits
from dltrain.data.tables.columns import find_columns

ROWS = 200


def clean():
    rng = np.random.default_rng(0)
    return {
        **{name: rng.normal(size=ROWS).round(6) for name in ("size", "height", "depth")},
        "city": rng.choice(["Bern", "Basel", "Genf"], ROWS),
        "label": rng.permutation(np.arange(ROWS) % 2),
    }


def found(frame, target=None, *, classes=True):
    frame = pl.DataFrame(frame, strict=False)
    target = frame["label"].to_numpy() if target is None else target
    frame = frame.drop("label")
    columns = find_columns(frame, {})
    every = np.arange(len(frame))
    splits = Splits(every[: ROWS // 2], every[:0], every[ROWS // 2 :])
    where = "line {}".format
    return ordered(
        [
            *column_findings(frame, columns, where),
            *missing_findings(frame, columns, target),
            *leak_findings(frame, columns, target, classes=classes),
            *row_findings(frame, columns, splits, where),
            *date_findings(frame, columns, splits),
        ]
    )


def gap(values, rows):
    values = [None if i in set(rows) else v for i, v in enumerate(np.asarray(values).tolist())]
    return values


def with_copy(table, *, of, to):
    """Copy one row over another."""
    table = {name: np.array(values) for name, values in table.items()}
    for values in table.values():
        values[to] = values[of]
    return table


def nearly(table):
    table = with_copy(table, of=1, to=150)
    table["size"][150] += 1e-6
    return table


def planted():
    table, rng = clean(), np.random.default_rng(1)
    y = table["label"]
    days = np.datetime64("2024-01-01") + np.arange(ROWS)[::-1]
    return {
        "constant": ({**table, "c": ["x"] * ROWS}, What.CONSTANT, "c", "only x"),
        "identifier": ({**table, "row_id": np.arange(ROWS)}, What.IDENTIFIER, "row_id", "each once"),
        "leak by level": ({**table, "c": np.where(y, "yes", "no")}, What.LEAK, "c", "each of its 2 values has one"),
        "leak by threshold": (
            {**table, "c": y + rng.uniform(0, 0.5, ROWS)},
            *(What.LEAK, "c", "1 threshold of it separates the classes"),
        ),
        "test rows in train": (with_copy(table, of=1, to=150), What.TEST_IN_TRAIN, "", "1 of 100 test rows"),
        "duplicates": (with_copy(table, of=1, to=2), What.DUPLICATES, "", "line 2 as line 1"),
        "near-duplicates": (nearly(table), What.NEAR_DUPLICATES, "", "line 150 as line 1"),
        "equal columns": (
            {**table, "again": table["size"]},
            What.EQUAL_COLUMNS,
            "again",
            "the same values as size",
        ),
        "missing": ({**table, "c": gap(rng.normal(size=ROWS), range(7))}, What.MISSING, "c", "7 of 200 values"),
        "missing together": (
            {
                **table,
                "c": gap(rng.normal(size=ROWS), range(50)),
                "d": gap(rng.normal(size=ROWS), range(50)),
            },
            *(What.MISSING, "c, d", "missing in the same rows (50)"),
        ),
        "missing by class": (
            {**table, "c": gap(rng.normal(size=ROWS), np.flatnonzero(y)[:60])},
            *(What.MISSING, "c", "a gap tells the target"),
        ),
        "outliers": (
            {**table, "c": np.r_[rng.normal(size=ROWS - 1), 1000.0]},
            *(What.OUTLIERS, "c", "1000 (line 199)"),
        ),
        "mixed types": (
            {**table, "c": [f"{v:.3f}" for v in rng.normal(size=ROWS - 1)] + ["tall"]},
            *(What.MIXED, "c", "'tall' (line 199)"),
        ),
        "dates": ({**table, "day": days}, What.DATES, "day", "100 of 100 train rows are later"),
    }


@pytest.mark.parametrize("name", planted())
def test_what_is_planted_is_found(name):
    table, what, where, text = planted()[name]
    matching = [one for one in found(table) if one.what is what and one.where == where and text in one.text]
    assert matching, "\n".join(map(str, found(table)))


def test_nothing_is_found_in_clean_data():
    assert found(clean()) == []


@pytest.mark.parametrize(("noise", "text"), [(0.01, "it correlates"), (0.5, "")])
def test_a_number_that_correlates_with_the_target_is_a_leak(noise, text):
    rng = np.random.default_rng(5)
    target = rng.normal(size=ROWS)
    table = {**clean(), "c": 3 * target + noise * rng.normal(size=ROWS)}
    leaks = [one.text for one in found(table, target, classes=False) if one.what is What.LEAK]
    assert ([text] if text else []) == [leak.split(" with")[0] for leak in leaks]


def test_ranks_that_correlate_are_a_leak():
    target = np.random.default_rng(5).normal(size=ROWS)
    table = {**clean(), "c": np.exp(5 * target)}
    (leak,) = [one for one in found(table, target, classes=False) if one.what is What.LEAK]
    assert leak.text == "its ranks correlate with the target by 1.0000"


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"a": 95, "b": 5}, "b has 5 of 100 examples (5.0%), the largest class 95"),
        ({"a": 60, "b": 40}, ""),
        ({"a": 100}, ""),
        ({str(i): 100 for i in range(50)}, ""),
    ],
)
def test_rare_classes_are_found(counts, text):
    assert [one.text for one in imbalance_findings(counts)] == ([text] if text else [])


def test_the_command_reports_a_table(dltrain, tmp_path):
    table = clean()
    table |= {"copy": table["label"].astype(str), "row_id": np.arange(ROWS)}
    pl.DataFrame(table).rename({"label": "y"}).write_csv(tmp_path / "t.csv")
    result = dltrain("inspect", "data=table", "data.path=t.csv", cwd=tmp_path)
    assert result.code == 0, result.err
    assert "target  y (its name says so)" in result.out
    assert "target leak: copy: 1 threshold of it separates the classes" in result.out
    report = tmp_path / "inspect" / "t"
    rows = list(csv.DictReader((report / "findings.csv").read_text().splitlines()))
    assert {row["what"] for row in rows} == {"target leak", "identifier"}
    assert (report / "columns.png").stat().st_size > 1000
    assert list((report / "tensorboard").iterdir())


def test_the_command_reports_images(dltrain, tmp_path):
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i}.png")
    twin = (tmp_path / "photos" / "cat" / "0.png").read_bytes()
    (tmp_path / "photos" / "cat" / "twin.png").write_bytes(twin)
    (tmp_path / "photos" / "dog" / "broken.png").write_bytes(b"no image")
    result = dltrain("inspect", "data=images", "data.path=photos", "data.size=16", cwd=tmp_path)
    assert result.code == 0, result.err
    assert "unreadable: 1 could not be read" in result.out and "broken.png" in result.out
    assert "duplicates: 1 examples equal an earlier one" in result.out
    assert (tmp_path / "inspect" / "photos" / "images.png").stat().st_size > 5000


@pytest.mark.slow
def test_wrongly_labelled_rows_are_the_first_candidates(dltrain, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    label = np.where(x[:, 0] > 0, "yes", "no")
    wrong = np.argsort(-np.abs(x[:, 0]))[[3, 7, 11]]
    label[wrong] = np.where(label[wrong] == "yes", "no", "yes")
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "label": label}).write_csv(tmp_path / "t.csv")
    words = ("data=table", "data.path=t.csv", "data.target=label", "model=linear", "epochs=30")
    words += ("batch_size=32", "optim.learning_rate=0.1")
    assert dltrain(*words, "quiet=true", "output_dir=run", cwd=tmp_path).code == 0
    result = dltrain("inspect", "run", "count=3", cwd=tmp_path)
    assert result.code == 0, result.err
    rows = list(csv.DictReader((tmp_path / "run" / "report" / "label_noise.csv").read_text().splitlines()))
    assert {int(row["example"]) for row in rows} == set(wrong.tolist())
    for row in rows:
        assert row["where"].endswith(f"line {int(row['example']) + 2}")
        assert row["target"] == label[int(row["example"])] != row["predicted"]
    sure = [float(row["confidence"]) for row in rows]
    assert sure == sorted(sure, reverse=True) and sure[-1] > 0.9
