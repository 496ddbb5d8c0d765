"""What a folder holds, and the name of its model."""

import pytest

from dltrain.errors import CheckpointError, ConfigError
from dltrain.serving.open import check_export, name_of


def test_an_export_is_told_from_a_run(digits, tmp_path):
    for folder in (digits.path, tmp_path):
        check_export(folder)
    (tmp_path / "signature.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"signature\.json"):
        check_export(tmp_path)


def test_a_folder_gives_the_model_its_name(tmp_path):
    assert name_of(tmp_path / "a" / ".." / "mein lauf") == "mein lauf"
    with pytest.raises(ConfigError, match="rename it"):
        name_of(tmp_path / "a\nb")
