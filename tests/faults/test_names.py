"""Folders with unusual names work in every command, or the error says what is wrong with them."""

import json
import re
import shlex

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

NAMES = [
    "mit leerzeichen",
    "größe",
    "日本語",
    "e\u0301 decomposed",
    "🙂",
    "it's",
    'say "x"',
    "$HOME ${x} `y`",
    "a=b",
    "-dash",
    "a,b (c) {d}",
    "100%",
    "line\nbreak",
    "x" * 200,
    "/".join(["deep"] * 40),
    "trailing ",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_goes_through_every_command(dltrain, words, name, tmp_path, count):
    run = f"./{name}"  # a word that begins with a dash is an option, as everywhere
    quoted = "'" + run.replace("'", "\\'").replace("${", "\\${") + "'"
    count.tried += 1
    result = dltrain(*words, "steps=2", f"output_dir={quoted}", cwd=tmp_path)
    assert result.code == 0, result.err
    assert (tmp_path / name / "summary.json").is_file()
    if "\n" not in name:  # what is told to be typed next can be pasted
        pasted = re.search(r"^next        (.*)$", result.out, re.MULTILINE)[1]
        assert shlex.split(pasted) == ["dltrain", "evaluate", name]
    for line, code in (
        (("hash", run), 0),
        (("verify", run), 0),
        (("evaluate", run), 0),
        (("resume", run, "steps=3", "quiet=true"), 0),
        ((*words, f"output_dir={quoted}"), 2),
        ((*words, "steps=1", "output_dir=next", f"init_from={quoted}"), 0),
    ):
        result = dltrain(*line, cwd=tmp_path)
        assert result.code == code, (line, result.err)
    assert json.loads((tmp_path / name / "summary.json").read_text())["steps"] == 3
    drawn = ("data=iris", "model=rbm", "model.widths=[2]", "model.sweeps=2", "steps=1", "quiet=true")
    for line in ((*drawn, f"output_dir={quoted[:-1]}/drawn'"), ("generate", f"{run}/drawn", "count=2")):
        result = dltrain(*line, cwd=tmp_path)
        assert result.code == 0, (line, result.err)
    assert (tmp_path / name / "drawn/report/generated_seed_0.npz").is_file()
    count.survived += 1


@pytest.mark.parametrize("name", ["a[b]", "a*", "what?", "back\\slash", "x" * 300, "/".join(["y" * 200] * 30)])
def test_a_name_that_cannot_be_used_is_an_error_in_words(dltrain, words, name, tmp_path):
    for line in ((*words, "steps=1", f"output_dir='{name}'"), ("resume", name), ("hash", name), ("evaluate", name)):
        result = dltrain(*line, cwd=tmp_path)
        assert result.code in (2, 6), (line[0], result)
        assert "internal error" not in result.err and "Traceback" not in result.err
    assert not list(tmp_path.rglob("checkpoints"))
    if len(name) < 99:  # as may have been made by a rename
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("{}")
        result = dltrain("hash", name, cwd=tmp_path)
        assert result.code == 2 and "rename it" in result.err
