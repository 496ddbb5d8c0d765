"""A run on texts evaluates them again with equal bits: from its files, from Python, resident and streamed."""

import json

import numpy as np
import pytest

import dltrain as package
from dltrain.data.texts.cut import words as cut_words
from dltrain.errors import DataError

pytestmark = pytest.mark.usefixtures("quickly_compiled")

FILES = ("data=text", "data.path=train.tsv", "data.test_path=test.tsv", "data.text=text", "data.target=label")
LENGTH = ("quiet=true", "seed=1", "epochs=2", "batch_size=16", "early_stopping.patience=null")
CASES = {
    "textcnn": ("model=textcnn", "model.filters=4", "model.embedding=8", "model.widths=[2,3]"),
    "bag": ("model=bag_of_ngrams", "data.vocabulary_size=500", "data.feed=streamed"),
    "gru": ("model=gru", "model.hidden=8", "model.embedding=8", "data.tokens=characters", "data.max_length=12"),
    "lstm": ("model=lstm", "model.hidden=8", "model.embedding=8", "data.feed=streamed"),
    "subwords": ("model=mlp", "model.widths=[4]", "data.tokens=subwords", "data.vocabulary_size=330"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    for name, count in (("train", 90), ("test", 21)):
        lines = ["label\ttext"]
        for i in range(count):
            known = rng.choice(["see", "you", "later"] if i % 3 else ["win", "prize", "call"], rng.integers(1, 6))
            lines.append(f"{'ham' if i % 3 else 'spam'}\t{' '.join(known)} {'😀' * (i % 2)} {i}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_evaluating_again_gives_the_metrics_of_the_run(name, folder, dltrain, monkeypatch):
    if name == "subwords":
        pytest.importorskip("sentencepiece", reason="subwords need it: pip install '.[text]'")
    result = dltrain(*FILES, *LENGTH, *CASES[name], f"output_dir={name}", cwd=folder, figures=False)
    assert result.code == 0, result.err
    monkeypatch.chdir(folder)
    summary = json.loads((folder / name / "summary.json").read_text(encoding="utf-8"))
    run = package.open_run(name, checkpoint="last")
    rows = [line.split("\t") for line in (folder / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    texts, names = [text for _, text in rows], [label for label, _ in rows]
    labels = np.array([name == "spam" for name in names], np.int32)
    given = run.evaluate(inputs=texts, targets=labels)
    for found in (run.evaluate("test"), given, run.bundle.evaluate(texts, names)):
        plain = {name: float(value) for name, value in found.items() if np.ndim(value) == 0}
        assert {name: None if np.isnan(value) else value for name, value in plain.items()} == summary["test"]
    explained = run.explain(examples=3)
    assert not explained.incomplete
    for name_of, found in zip(explained.examples.names, *explained.texts.values(), strict=True):
        text = texts[int(name_of.removeprefix("test ")) - 90]  # the test texts follow 90 of train
        if name in ("textcnn", "bag", "lstm"):
            assert list(found.tokens) == cut_words(text.lower())[: len(found.tokens)] and len(found.tokens) > 1
    unseen = run.outputs(["never seen before", "", "nul\0 " + "long " * 999, "😀"])
    assert unseen.shape == (4, 1) and np.isfinite(unseen).all()
    with pytest.raises(DataError, match=r"targets: label of example 1 is 'eggs', expected one of ham, spam"):
        run.evaluate(inputs=texts[:2], targets=["ham", "eggs"])
