"""Lower precision costs no accuracy beyond noise."""

import json
import os

import pytest


@pytest.mark.slow
def test_mnist_is_learnt_as_well_in_every_precision(dltrain, tmp_path):
    if not os.environ.get("DLTRAIN_DATA"):
        pytest.skip("MNIST is not here; set DLTRAIN_DATA")
    accuracy = {}
    for precision in ("float32", "mixed", "bfloat16"):
        words = ("data=mnist", "model.widths=[64]", "epochs=1", "quiet=true", f"output_dir={precision}")
        result = dltrain(*words, f"runtime.precision={precision}", cwd=tmp_path, figures=False)
        assert result.code == 0, result.err
        accuracy[precision] = json.loads((tmp_path / precision / "summary.json").read_text())["test"]["accuracy"]
    assert accuracy["float32"] > 0.9
    # Two standard errors of the difference of two accuracies near 0.94, 10,000 examples each: 0.0067.
    for found in accuracy.values():
        assert found == pytest.approx(accuracy["float32"], abs=0.0067), accuracy
