"""The model of a folder: a run, or an export, whose program takes batches of any size."""

import numpy as np
import pytest
from http_client import ask

from dltrain.errors import ConfigError
from dltrain.serving.open import is_export, name_of, served_export


class Exported:
    """What `dltrain.load_exported` returns, with the program of a run."""

    def __init__(self, run) -> None:
        self.path, self.spec, self._bundle = run.path, run.spec, run.bundle
        outputs = {"class": ([None], "int32"), "probabilities": ([None, 10], "float32")}
        described = {name: {"shape": shape, "dtype": dtype} for name, (shape, dtype) in outputs.items()}
        self.signature = {"outputs": described, "readable_until": "2030-01-31"}

    def __call__(self, inputs):
        return self._bundle.decisions(inputs["image"])


def test_an_export_is_served_as_the_run_is(digits, digits_url, serve_it, image):
    model = served_export(Exported(digits))
    with serve_it(model) as url:
        assert ask(url, "/signature").json["readable_until"] == "2030-01-31"
        assert ask(url, "/v2/models/mein%20lauf").json == ask(digits_url, "/v2/models/mein%20lauf").json
        mine, other = (
            ask(u, "/predict", image, Content_Type="image/png").json["predictions"] for u in (url, digits_url)
        )
    assert [row["class"] for row in mine] == [row["class"] for row in other]
    assert np.allclose(*(list(rows[0].values())[1:] for rows in (mine, other)), rtol=1e-5)


def test_an_export_is_told_from_a_run_and_not_changed(digits, tmp_path, dltrain):
    assert not is_export(digits.path)
    (tmp_path / "signature.json").write_text("{}")
    (tmp_path / "config.yaml").write_text("{}")
    assert is_export(tmp_path)
    result = dltrain("serve", str(tmp_path), "model.widths=[3]")
    assert result.code == 2 and "model.widths=[3]: an export cannot be changed" in result.err


def test_a_folder_gives_the_model_its_name(tmp_path):
    assert name_of(tmp_path / "a" / ".." / "mein lauf") == "mein lauf"
    with pytest.raises(ConfigError, match="rename it"):
        name_of(tmp_path / "a\nb")
