"""dltrain explain finds planted rules, writes what it says, and gives the same results again."""

import csv
import json

import numpy as np
import pytest

import dltrain as package
from dltrain.report import explained as report

# tests/inference/explain tries the methods by default
pytestmark = [pytest.mark.usefixtures("quickly_compiled"), pytest.mark.slow]

TRAIN = "epochs=20 batch_size=64 optim=adam optim.learning_rate=0.02 quiet=true recipe=none"

"""Training of the planted runs."""


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def planted(dltrain, tmp_path_factory):
    """A small MLP, trained on a table in which two of eight columns matter: as a product, and one by itself."""
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 8))
    y = 2 * np.sign(x[:, 2]) * np.sign(x[:, 5]) + x[:, 2] + rng.normal(0, 0.1, 900)
    lines = [",".join([*(f"c{i}" for i in range(8)), "y"])]
    lines += [",".join(f"{value:.4f}" for value in row) for row in np.column_stack([x, y])]
    (folder / "planted.csv").write_text("\n".join(lines) + "\n")
    words = f"data=table data.path=planted.csv data.target=y model=mlp model.widths=[32,32] {TRAIN} output_dir=run"
    result = dltrain(*words.split(), cwd=folder, figures=False)
    assert result.code == 0, result.err
    return folder


@pytest.fixture(scope="module")
def explained(dltrain, planted):
    return dltrain("explain", "run", "repeats=4", "columns=2", "examples=3", "steps=1024", cwd=planted)


def test_the_two_columns_that_matter_are_found(explained, planted):
    assert explained.code == 0, explained.err
    found = rows_of(planted / "run/explain/importance.csv")
    assert {row["column"] for row in found[:2]} == {"c2", "c5"}
    least, most = float(found[1]["loss_low_95"]), float(found[2]["loss_high_95"])
    assert least > 5 * max(most, 0)
    shown = [line.split()[0] for line in explained.out.splitlines() if " ± 0" in line and line.startswith("c")]
    assert shown[:2] == [row["column"] for row in found[:2]]
    assert "█" * 20 in explained.out
    attributed = rows_of(planted / "run/explain/attributions.csv")
    strength = {f"c{i}": 0.0 for i in range(8)}
    for row in attributed:
        strength[row["column"]] += abs(float(row["attribution"]))
    assert sorted(strength, key=strength.get)[-2:] in (["c2", "c5"], ["c5", "c2"])


def test_what_was_done_is_written_down(explained, planted):
    folder = planted / "run/explain"
    about = json.loads((folder / "explain.json").read_text())
    assert sorted(about["files"]) == sorted(path.name for path in folder.iterdir())
    assert about["methods"] == {"numbers": "integrated gradients from the medians of the training rows"}
    complete = about["completeness"]
    assert complete["largest_error"] <= complete["tolerance"] == 0.01 and complete["missed_by"] == 0
    with np.load(folder / "attributions.npz") as arrays:
        total = arrays["attributions_numbers"].sum(1, dtype=np.float64)
        np.testing.assert_allclose(arrays["output"], complete["f_x"])
        np.testing.assert_allclose(total, arrays["output"] - arrays["baseline"], atol=0.03)
    assert {row["part"] for row in rows_of(folder / "dependence.csv")} >= {"c2", "c5"}
    written = (planted / "run/written.txt").read_text().splitlines()
    assert {"explain/explain.json", "explain/importance.png"} <= set(written)


def test_the_same_seed_gives_the_same_numbers(explained, planted, monkeypatch):
    monkeypatch.chdir(planted)
    found = package.open_run("run").explain(repeats=4, columns=0, examples=1)
    saved = rows_of(planted / "run/explain/importance.csv")
    order = found.importance.order()
    assert [float(row["loss_mean"]) for row in saved] == found.importance.mean()[order].tolist()
    other = package.open_run("run").explain(repeats=2, columns=0, examples=1, seed=1)
    assert not np.isin(other.importance.drops["loss"], found.importance.drops["loss"]).any()


def test_a_file_without_targets_has_no_importance_and_old_files_go(explained, planted, dltrain, monkeypatch):
    monkeypatch.setattr(report, "figures", lambda found: {})
    frame = (planted / "planted.csv").read_text().splitlines()[:6]
    (planted / "new.csv").write_text("\n".join(line.rpartition(",")[0] for line in frame) + "\n")
    words = ("repeats=1", "columns=1", "steps=1", "rows=50", "output=new")
    assert dltrain("explain", "run", "input=planted.csv", *words, cwd=planted).code == 0
    assert (planted / "new/importance.csv").exists()
    assert json.loads((planted / "new/explain.json").read_text())["importance"]["rows"] == 50
    result = dltrain("explain", "run", "input=new.csv", *words, cwd=planted)
    assert result.code == 0, result.err
    assert not (planted / "new/importance.csv").exists() and (planted / "new/dependence.csv").exists()
    assert "5 examples (new.csv)" in result.out and "±" not in result.out
    assert "miss the difference in output by up to" in result.err  # steps=1
    assert json.loads((planted / "new/explain.json").read_text())["completeness"]["missed_by"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("split=test", "input=planted.csv"), "give either split=test, or inputs"),
        (("input=nothing.csv",), "input=nothing.csv: no such file or folder"),
        (("target=price",), "target=price: is not a target of this model, which has y"),
    ],
)
def test_mistakes_are_named(planted, dltrain, words, message):
    result = dltrain("explain", "run", *words, cwd=planted)
    assert result.code in (2, 3) and message in result.err and "Traceback" not in result.err


@pytest.mark.slow
def test_images_get_overlays_and_filters(digits_run, dltrain, tmp_path):
    result = dltrain("explain", str(digits_run.folder), "examples=3", f"output={tmp_path}/out")
    assert result.code == 0, result.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("attributions.png", "filters.png", "attributions.npz", "explain.json")
    }
    found = package.open_run(digits_run.folder).explain(examples=3)
    assert found.filters.weights.shape == (16, 8, 8, 1)
    assert found.attributions.values["image"].shape == (3, 8, 8, 1) and not found.incomplete


@pytest.mark.slow  # tests/inference/test_text.py explains a text by default
def test_the_words_that_decide_are_found(dltrain, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "figures", lambda found: {})
    rng = np.random.default_rng(0)
    plain = ["see", "you", "at", "home", "tonight", "the", "a", "to"]
    lines = ["label\ttext"]
    for i in range(120):
        words = [*rng.choice(plain, 6), "cash" if i % 2 else "dinner"]
        lines.append(f"{'spam' if i % 2 else 'ham'}\t{' '.join(rng.permutation(words))}")
    (tmp_path / "messages.tsv").write_text("\n".join(lines) + "\n")
    words = "data=text data.path=messages.tsv data.text=text data.target=label data.tokens=words"
    words += " model=bag_of_ngrams model.embedding=4 epochs=6 optim=adam optim.learning_rate=0.2 recipe=none"
    result = dltrain(*words.split(), "quiet=true", "output_dir=run", cwd=tmp_path, figures=False)
    assert result.code == 0, result.err
    result = dltrain("explain", "run", "examples=4", cwd=tmp_path)
    assert result.code == 0, result.err
    rows = rows_of(tmp_path / "run/explain/tokens.csv")
    for name in dict.fromkeys(row["example"] for row in rows):
        strongest = max((row for row in rows if row["example"] == name), key=lambda r: float(r["attribution"]))
        assert strongest["token"] in ("cash", "dinner")
    (tmp_path / "new.txt").write_text("send cash tonight\n\nhome\n")
    found = package.open_run(tmp_path / "run").explain(tmp_path / "new.txt")
    assert found.texts["tokens"][0].tokens == ("send", "cash", "tonight")
    assert found.texts["tokens"][0].known.tolist() == [False, True, True]
