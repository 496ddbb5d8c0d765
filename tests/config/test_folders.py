"""Finding the choices, and reading untrusted YAML within limits."""

import os
import time
from pathlib import Path

import pytest

from dltrain.config import folders as tree
from dltrain.config.schema import GROUPS
from dltrain.errors import ConfigError


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_every_choice_says_when_to_choose_it() -> None:
    for group, choices in tree.read_tree(tree.roots(None)).items():
        assert group in GROUPS
        for choice, path in choices.items():
            assert tree.first_comment(path), f"{group}={choice} has no first comment"


def test_the_first_comment_is_no_directive(tmp_path: Path) -> None:
    assert (
        tree.first_comment(_write(tmp_path / "a.yaml", "# @package _global_\n\n# When  \nx: 1\n# no\n")) == "When"
    )
    assert tree.first_comment(_write(tmp_path / "b.yaml", "x: 1\n# too late\n")) == ""


def test_user_defined_choices_are_added_to_the_built_in_ones(tmp_path: Path) -> None:
    _write(tmp_path / "model" / "mine.yaml", "_target_: x.y\n")
    found = tree.read_tree(tree.roots(str(tmp_path)))
    assert {"mine", "mlp"} <= set(found["model"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("model/mlp.yaml", "a: 1", "rename yours"),
        ("model/a.yaml", "hydra: {callbacks: {x: {_target_: os.system}}}", "hydra: may only be set"),
        ("model/a.yaml", "# @package hydra.callbacks\na: {_target_: os.system}", "must be _global_ or _group_"),
        ("model/a.yaml", " # @package hydra.callbacks\na: {_target_: os.system}", "must be _global_ or _group_"),
        ("model/a.yaml", "\u0085# @package hydra.x\na: {_target_: os.system}", "must be _global_ or _group_"),
        ("model/a.yaml", "defaults: ['/model/b@hydra.callbacks.x']", "may name groups and choices only"),
        ("model/a.yaml", "defaults: [{override /hydra/launcher: joblib}]", "may name groups and choices only"),
        ("model/a.yaml", "defaults: [{'/model@x': mlp}]", "may name groups and choices only"),
        ("model/a.yaml", "defaults: ['../_hidden/b']", "may name groups and choices only"),
        ("model/a.yaml", "defaults: {optional /model: ['${x}']}", "may name groups and choices only"),
        ("hydra/callbacks/a.yaml", "x: {_target_: os.system}", "hydra: may only be set"),
        ("model/a.yaml", "a: [1, 2", r"line \d, column \d: is not valid YAML"),
        ("model/a.yaml", "- 1", "must be a mapping"),
        ("model/a.yaml", "1: 2", "must be a mapping"),
        ("model/a.yaml", "a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("model/a.yaml", "a: " + "[" * 500 + "]" * 500, "32 levels"),
        ("model/a.yaml", "a: " + "x" * 1_000_001, "larger than"),
        ("model/a.yaml", "a: [" + "1," * 30_000 + "]", "20000 values"),
    ],
)
def test_files_that_do_harm_are_refused_with_their_name(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = _write(tmp_path / name, text)
    start = time.monotonic()
    with pytest.raises(ConfigError, match=message) as caught:
        tree.roots(str(tmp_path))
    assert str(path) in str(caught.value)
    assert time.monotonic() - start < 1


def test_files_behind_a_link_are_checked_too(tmp_path: Path) -> None:
    _write(tmp_path / "elsewhere" / "a.yaml", "hydra: {}")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "own")
    with pytest.raises(ConfigError, match="hydra: may only be set"):
        tree.roots(str(tmp_path / "own"))


def test_an_alias_bomb_is_refused_before_it_is_built(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    path = _write(tmp_path / "bomb.yaml", "\n".join(lines))
    start = time.monotonic()
    with pytest.raises(ConfigError, match="aliases written out"):
        tree.read_yaml(path)
    assert time.monotonic() - start < 1


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        tree.read_yaml(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match=r"a\.yaml/none"):
        tree.read_yaml(tmp_path / "a.yaml" / "none")


def test_numbers_are_read_as_omegaconf_reads_them(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    values = ("1e-3", "2026-01-01", "1_000", ".5", "1.", "-1.5E+3", ".inf", "1ep", "5", "on_", "'1e-3'", "1e5")
    path = _write(tmp_path / "a.yaml", "".join(f"k{i}: {value}\n" for i, value in enumerate(values)))
    assert tree.read_yaml(path) == OmegaConf.to_container(OmegaConf.load(path))


@pytest.mark.timeout(10)
def test_a_fifo_among_the_files_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model/a.yaml")
    with pytest.raises(ConfigError, match=r"a\.yaml: is not a regular file"):
        tree.roots(str(tmp_path))


def test_a_changed_file_is_parsed_again_and_what_was_read_is_the_callers_own(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: [1]\n")
    tree.read_yaml(path)["a"].append(2)
    assert tree.read_yaml(path) == {"a": [1]}
    path.write_text("a: [3]\n")  # of the same size
    assert tree.read_yaml(path) == {"a": [3]}
    (tmp_path / "b.yaml").write_text("a: [4]\n")
    (tmp_path / "b.yaml").replace(path)
    assert tree.read_yaml(path) == {"a": [4]}
    path.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        tree.read_yaml(path)
