"""The available choices, one line each, from the YAML files' first comments."""

import pytest

from dltrain import activations, initializers
from dltrain.config.folders import first_comment, packaged, read_tree


def test_every_choice_of_every_group_is_listed_with_its_line(dltrain):
    result = dltrain("list")
    assert (result.code, result.err) == (0, "")
    for group, choices in read_tree((packaged(),)).items():
        assert f"\n{group}: " in f"\n{result.out}"
        for name, path in choices.items():
            assert first_comment(path), path
            assert any(
                line.split()[:1] == [name] and first_comment(path) in line for line in result.out.splitlines()
            )


@pytest.mark.parametrize(("group", "module"), [("activation", activations), ("initializer", initializers)])
def test_what_is_chosen_by_name_is_listed_with_the_first_line_of_its_docstring(group, module, dltrain):
    lines = [line.split(maxsplit=1) for line in dltrain("list", group).out.splitlines()]
    assert sorted(name for name, _ in lines) == module.__all__
    for name, line in lines:
        assert 10 < len(line) < 116, line
        assert getattr(module, name).__doc__.replace("`", "").startswith(line)


def test_one_group_is_listed_alone_and_several_with_headings(dltrain):
    one = dltrain("list", "schedule").out
    assert "cosine" in one and "schedule:" not in one and "  mlp" not in one
    two = dltrain("list", "schedule", "model").out
    assert "schedule: " in two and "model: " in two and one.splitlines()[0] in two


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list", "schedules"), "schedules: no such group; did you mean schedule? (groups: "),
        (("list", "epochs=3"), "epochs=3: dltrain list takes groups and their choices: dltrain list model=cnn"),
    ],
)
def test_the_message_for_an_unknown_group_lists_the_groups(dltrain, words, message):
    result = dltrain(*words)
    assert result.code == 2 and message in result.err
