"""Examples generated from noise are saved to a file and drawn in a figure."""

import json

import numpy as np
import pytest
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from dltrain.report.sampling import SHOWN, save_samples

# tests/commands/test_generate.py tries the command by default
pytestmark = [pytest.mark.usefixtures("quickly_compiled"), pytest.mark.slow]

RBM = ("data=digits", "model=rbm", "model.widths=[40]", "model.sweeps=20", "optim.learning_rate=0.05", "epochs=4")
GAN = ("data=iris", "model=gan", "model.widths=[8]", "epochs=1")


@pytest.fixture(scope="module")
def runs(dltrain, tmp_path_factory):
    cwd = tmp_path_factory.mktemp("samplers")
    for name, words in (("rbm", RBM), ("gan", GAN)):
        result = dltrain(*words, f"output_dir={name}", "quiet=true", cwd=cwd, figures=name == "rbm")
        assert result.code == 0, result.err
    return cwd


@pytest.fixture(scope="module")
def generate(dltrain, runs):
    return lambda *words: dltrain("generate", *words, cwd=runs)


def generated(path):
    with np.load(path) as arrays:
        assert arrays.files == ["generated"]
        return arrays["generated"]


@pytest.mark.slow
def test_samples_are_in_the_units_of_the_data_and_the_same_for_the_same_seed(generate, runs):
    result = generate("rbm")
    assert result.code == 0, result.err
    assert "64 examples of [8, 8, 1], in the units of the data" in result.out
    report = runs / "rbm" / "report"
    for name in ("generated_seed_0.npz", "generated_seed_0.png"):
        assert str(report.relative_to(runs) / name) in result.out
    first = generated(report / "generated_seed_0.npz")
    assert first.shape == (64, 8, 8, 1) and first.min() >= 0 and 8 < first.max() <= 16  # sixteen shades
    assert first[:, :, 2:6].mean() > 2 * first[:, :, [0, 7]].mean()  # ink is in the middle: it has learned
    height, width, _ = imread(report / "generated_seed_0.png").shape
    assert height == width + 30  # the caption
    before = (report / "generated_seed_0.npz").read_bytes()
    assert generate("rbm", "seed=0", "count=64").code == 0
    assert (report / "generated_seed_0.npz").read_bytes() == before
    assert generate("rbm", "seed=1").code == 0
    assert (report / "generated_seed_0.npz").read_bytes() == before
    assert (report / "generated_seed_1.npz").read_bytes() != before
    of_the_run = {"curves.png", "generated.png", "reconstructions.png"}
    of_generate = {f"generated_seed_{seed}.{suffix}" for seed in (0, 1) for suffix in ("npz", "png")}
    assert {p.name for p in report.iterdir()} == of_the_run | of_generate


@pytest.mark.slow
def test_examples_are_shown_at_each_evaluation_and_kept_at_the_end(runs):
    events = EventAccumulator(str(runs / "rbm" / "tensorboard"), size_guidance={"tensors": 0}).Reload()
    shown = [
        (e.step, tensor_util.make_ndarray(e.tensor_proto).tolist()[2]) for e in events.Tensors("report/generated")
    ]
    last = shown[-1][0]
    assert [step for step, _ in shown] == [
        last // 4,
        last // 2,
        last * 3 // 4,
        last,
        last,
    ]  # four epochs, and the end
    assert len({png for _, png in shown[:4]}) == 4  # the same noise, but a model that learns
    assert (runs / "rbm" / "report" / "generated.png").read_bytes() == shown[-1][1]
    assert events.SummaryMetadata("report/reconstructions").plugin_data.plugin_name == "images"


def test_more_than_are_drawn_at_once_are_all_different(generate, runs):
    result = generate("rbm", "count=1300", "output=many/digits.npz")
    assert result.code == 0 and "figure    many/digits.png" in result.out, result.err
    found = generated(runs / "many" / "digits.npz").reshape(1300, -1)
    assert len(np.unique(found, axis=0)) == 1300


def test_generated_rows_of_a_table_are_drawn_next_to_those_of_the_data(generate, runs):
    result = generate("gan")
    assert result.code == 0, result.err
    assert generated(runs / "gan" / "report" / "generated_seed_0.npz").shape == (1000, 4)
    assert (runs / "gan" / "report" / "generated_seed_0.png").stat().st_size > 10_000


def test_a_figure_has_a_maximum_number_of_tiles(program, tmp_path):
    samples = np.zeros((SHOWN + 1, 8, 8, 1), np.float32)
    figure = save_samples(samples, tmp_path, "all.npz", program.parts.spec, caption="all")
    assert imread(figure).shape[:2] == (1430, 1400)  # of twenty times twenty
    assert len(generated(tmp_path / "all.npz")) == SHOWN + 1


@pytest.mark.parametrize("word", ["prompt=a", "tokens=3", "temperature=1", "top_k=2", "split=test", "examples=5"])
def test_options_of_text_models_are_refused(generate, word):
    result = generate("rbm", word)
    assert result.code == 2 and result.out == ""
    assert f"{word.partition('=')[0]}: this run's model generates examples from noise: count=64" in result.err


def test_the_values_are_named_as_what_they_are(generate, runs):
    result = generate("rbm", "output=digits.png")
    assert result.code == 2 and "output=digits.png: must end in .npz; the figure is saved next to it" in result.err
    assert not (runs / "digits.png").exists()


def test_what_cannot_be_generated_is_reported(generate, runs):
    (runs / "file").write_text("")
    result = generate("rbm", "output=file/inside.npz")
    assert result.code == 6 and "cannot write file/inside.npz" in result.err


def test_the_run_is_unchanged(generate, runs):
    before = json.loads((runs / "gan" / "summary.json").read_text())
    assert generate("gan", "count=3", "checkpoint=last", "output=three.npz").code == 0
    assert len(generated(runs / "three.npz")) == 3
    assert json.loads((runs / "gan" / "summary.json").read_text()) == before
