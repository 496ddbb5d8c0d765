"""Evaluate, predict, export, serve and Python give the same answers for the same examples, whatever the data."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import own_runs
import polars as pl
import pytest
from http_client import ask

import dltrain as package

KINDS = ("table", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("images", "text", "series")))


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory, dltrain):
    """A run and an export of it, by the kind of data."""
    folder, kind = tmp_path_factory.mktemp("same"), request.param
    own_runs.write_files(folder)
    own_runs.train(dltrain, folder, kind)
    found = dltrain("export", kind, f"output=exported/{kind}", cwd=folder)
    assert found.code == 0, found.err
    return kind, folder


@contextlib.contextmanager
def serving(path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "dltrain", "serve", str(path), "port=0", "batch=4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield next(found[0] for line in process.stdout if (found := re.search(r"http://[\d.:]+", line)))
        finally:
            process.terminate()
    assert process.returncode == 0


def examples(kind: str, folder: Path) -> tuple[Path, list, list]:
    """Return a file of new examples, the same for Python, and as JSON."""
    if kind == "table":
        frame = own_runs.houses(12, np.random.default_rng(7)).drop("kind", "price")
        path = folder / "new.csv"
        frame.write_csv(path)
        rows = frame.drop("id").to_dicts()
        return path, frame, rows
    if kind == "images":
        files = sorted((folder / "photos" / "dark").glob("*.png"))[:3]
        (folder / "new").mkdir(exist_ok=True)
        for file in files:
            (folder / "new" / file.name).write_bytes(file.read_bytes())
        return folder / "new", files, [file.read_bytes() for file in files]
    if kind == "text":
        texts = ["win money now", "hello friend", "something else"]
        path = folder / "new.txt"
        path.write_text("\n".join(texts) + "\n")
        return path, texts, [{"text": text} for text in texts]
    frame = own_runs.series(30)
    path = folder / "later.csv"
    frame.write_csv(path)
    rows = [{**row, "when": row["when"].isoformat(sep=" ")} for row in frame.to_dicts()]
    return path, frame, rows


def flat(rows: list[dict], columns: list[str]) -> dict[str, list]:
    """Return the rows of an answer as columns; several steps of an example one below the other."""
    return {
        name: [v for row in rows for v in (row[name] if isinstance(row[name], list) else [row[name]])]
        for name in columns
    }


def close(found: list, expected: list, *, rtol: float) -> None:
    if isinstance(expected[0], str):
        assert list(found) == expected
    else:
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-6)


def test_every_way_gives_the_same_answers(made):
    kind, folder = made
    path, given, rows = examples(kind, folder)
    run = package.open_run(folder / kind)
    predicted = run.predict(given)
    expected = predicted.to_frame()
    columns = [name for name in expected.columns if name != "step"]
    run.predict_file(path, str(folder / f"{kind}.out.csv"))
    written = pl.read_csv(folder / f"{kind}.out.csv")
    for name in columns:
        close(written[name].to_list(), expected[name].to_list(), rtol=1e-5)
    exported = package.load_exported(folder / "exported" / kind)
    found = exported.predict(given if kind != "series" else run.bundle.encode(given))
    for name, values in predicted.items():
        close(found[name].reshape(-1).tolist(), values.reshape(-1).tolist(), rtol=1e-4)
    pytest.importorskip("uvicorn")
    client = pytest.importorskip("tritonclient.http")
    with serving(folder / "exported" / kind if kind == "table" else folder / kind) as url:
        if kind == "images":
            answers = [ask(url, "/predict", body, Content_Type="image/png").json for body in rows]
            said = [row for answer in answers for row in answer["predictions"]]
        else:
            said = ask(url, "/predict", rows).json["predictions"]
        for name, values in flat(said, columns).items():
            close(values, expected[name].to_list(), rtol=1e-5)
        arrays = run.bundle.prepared(given)
        named = arrays if isinstance(arrays, dict) else {run.bundle.raw_spec.input_name: arrays}
        with contextlib.closing(client.InferenceServerClient(url.removeprefix("http://"))) as triton:
            (name,) = [json.loads(ask(url, "/signature").body)["name"]]
            kinds = {"float32": "FP32", "int32": "INT32", "uint8": "UINT8"}
            for binary in (True, False):
                inputs = []
                for feature, values in named.items():
                    tensor = client.InferInput(feature, list(values.shape), kinds[str(values.dtype)])
                    tensor.set_data_from_numpy(values, binary_data=binary)
                    inputs.append(tensor)
                answer = triton.infer(name, inputs)
                for decision, values in predicted.items():
                    np.testing.assert_allclose(answer.as_numpy(decision), values, rtol=1e-5, atol=1e-6)


def test_evaluation_counts_what_predictions_say(made):
    kind, folder = made
    if kind != "table":
        pytest.skip("the targets of this test are a column")
    run = package.open_run(folder / "table")
    with np.load(run.path / "splits.npz") as splits:
        rows = pl.read_csv(folder / "houses.csv")[splits["test"].tolist()]
    with contextlib.chdir(folder):
        found = run.evaluate("test")
    right = run.predict(rows).columns["class"] == rows["kind"].to_numpy()
    assert found["accuracy"] == pytest.approx(right.mean())
    again = run.evaluate(inputs=rows, targets=rows["kind"].to_list())
    assert again["accuracy"] == found["accuracy"]
