"""Augmentation from the command line: its figure, when it is off, and mistakes in its options."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

IRIS = ("data=iris", "model=linear", "batch_size=20", "augment=noise", "augment.off_for=3", "quiet=true")

pytestmark = pytest.mark.usefixtures("without_figures", "unoptimised")


@pytest.mark.slow
def test_a_run_that_augments_begins_with_a_figure(dltrain, tmp_path):
    words = ("augment=[rotation,mixup]", "augment.off_for=9ep", "model=linear", "steps=2", "output_dir=run")
    result = dltrain(*words, cwd=tmp_path)
    assert result.code == 0, result.err
    text = re.sub(r"\s+", " ", result.out)
    assert "augment rotation, mixup; off for the last 189 steps" in text
    assert "warning: augment.off_for covers all 2 steps of this run" in text
    with Image.open(tmp_path / "run/report/augmented.png") as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 10
    events = b"".join(p.read_bytes() for p in (tmp_path / "run/tensorboard").glob("events*"))
    assert b"augmented" in events


@pytest.mark.slow
def test_a_run_that_rests_at_its_end_resumes_exactly(dltrain, tmp_path):
    result = dltrain(*IRIS, "steps=6", "keep_every=2", "output_dir=run", cwd=tmp_path)
    assert result.code == 0, result.err
    run = tmp_path / "run"
    assert not (run / "report/augmented.png").exists()  # a table has no image
    whole = json.loads((run / "summary.json").read_text())["hash"]
    for later in [p for p in (run / "checkpoints").iterdir() if re.search(r"[3-9]$", p.name)]:
        shutil.rmtree(later)
    (run / "summary.json").unlink()
    result = dltrain("resume", "run", "quiet=false", cwd=tmp_path)
    assert result.code == 0 and "at step 2" in result.out, result.err
    assert json.loads((run / "summary.json").read_text())["hash"] == whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("augment=[hue]",), r"augment\.hue: hue needs red, green and blue.*float32\[64, 8, 8, 1\]"),
        (("data=iris", "augment=rotation"), r"augment\.rotation: rotation needs images"),
        (("augment.off_fr=2",), r"augment\.off_fr=2: unknown; did you mean augment\.off_for\?"),
        (("augment=noise", "augment.off_for=3min"), r"augment\.off_for=3min: must be a number of steps .* epochs"),
        (
            ("augment=noise", "augment.noise.stdev=1"),
            r"augment\.noise\.stdev: unknown; did you mean augment.noise.stddev",
        ),
        (("augment=noise", "augment.noise.scaled_by=1"), r"augment\.noise\.scaled_by: unknown"),
        (("loss=f1", "optim.accumulate=2"), r"optim\.accumulate=2 splits"),
    ],
)
def test_mistakes_end_with_2_before_a_folder_is_made(dltrain, tmp_path, words, message):
    result = dltrain(*words, "model=linear", cwd=tmp_path)
    assert result.code == 2 and re.search(message, result.err), result.err
    assert not list(tmp_path.iterdir())
