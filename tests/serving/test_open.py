"""What a folder holds, and the name of its model."""

import pytest

from dltrain.errors import ConfigError
from dltrain.serving.open import is_export, name_of


def test_an_export_is_told_from_a_run(digits, tmp_path):
    assert not is_export(digits.path) and not is_export(tmp_path)
    (tmp_path / "signature.json").write_text("{}")
    assert is_export(tmp_path)


def test_a_folder_gives_the_model_its_name(tmp_path):
    assert name_of(tmp_path / "a" / ".." / "mein lauf") == "mein lauf"
    with pytest.raises(ConfigError, match="rename it"):
        name_of(tmp_path / "a\nb")
