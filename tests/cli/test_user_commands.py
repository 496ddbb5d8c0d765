"""Commands of a user package, by `trust` and by an entry point; found without importing anything."""

import sys

import pytest

from dltrain.cli import discovery

COUNT = '''"""Count to a number: dltrain count WORD."""

from dltrain.errors import ConfigError


def run(call):
    """Print the numbers."""
    if not call.words:
        raise ConfigError("count: name a word")
    config = call.compose().config
    print(call.words, [call.options["scale"] * i for i in range(call.options["upto"])], config["epochs"])
    return 0
'''
OPTIONS = "upto: 2  # How far to count\nscale: 0.5  # Factor of each number\nloud: false\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a command, in the current folder; importing it creates a file."""
    home = tmp_path / "counting"
    (home / "commands").mkdir(parents=True)
    (home / "__init__.py").write_text("import sys\nsys.counted = True\n")
    (home / "commands" / "__init__.py").write_text("")
    (home / "commands" / "count.py").write_text(COUNT)
    (home / "commands" / "count.yaml").write_text(OPTIONS)
    (home / "commands" / "say_hello.py").write_text(
        '"""Greet."""\n\n\ndef run(call):\n    print("hello")\n    return 0\n'
    )
    (home / "commands" / "broken.py").write_text('"""Do nothing."""\n')
    (home / "commands" / "train.py").write_text('"""Take the place of train."""\n')
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield home
    sys.path[:] = path
    for name in [n for n in sys.modules if n.split(".")[0] == "counting"]:
        del sys.modules[name]
    if hasattr(sys, "counted"):
        del sys.counted


def install(folder):
    """Write what pip writes for `[project.entry-points."dltrain.commands"]`."""
    info = folder / "counting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dltrain.commands]\ntally = counting.commands.count\n")


@pytest.mark.parametrize(("name", "words"), [("count", ("trust=[counting]",)), ("tally", ())])
def test_a_users_command_is_listed_explained_and_run(name, words, package, dltrain, monkeypatch, tmp_path):
    if name == "tally":
        install(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
    assert f"\n  {name}" in dltrain("--help", *words).out
    result = dltrain(name, "--help", *words).out
    assert "count to a number" in result and "  upto=2\n      How far to count; a whole number" in result
    assert "  scale=0.5" in result and "  loud=false" in result
    assert not hasattr(sys, "counted")
    result = dltrain(name, "x", "upto=3", "epochs=7", *words)
    assert (result.code, result.out) == (0, "('x',) [0.0, 0.5, 1.0] 7\n"), result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("count", "x"), "count: no such command"),
        (("count", "x", "upto=many", "trust=counting"), "upto=many: must be a whole number"),
        (("count", "x", "up=1", "trust=counting"), "up: unknown; did you mean upto (now 2)?"),
        (("count", "x", "loud=1", "trust=counting"), "loud=1: must be true or false"),
        (("count", "trust=[counting]"), "count: name a word"),
        (("broken", "trust=[counting]"), "has no function run(call)"),
    ],
)
def test_a_mistake_with_a_users_command_exits_with_2(words, message, package, dltrain):
    result = dltrain(*words)
    assert result.code == 2 and message in result.err


@pytest.mark.parametrize("typed", ["say-hello", "say_hello"])
def test_the_underscores_of_a_module_are_dashes_of_its_command(typed, package, dltrain):
    assert "\n  say-hello " in dltrain("--help", "trust=[counting]").out
    result = dltrain(typed, "trust=[counting]")
    assert (result.code, result.out) == (0, "hello\n"), result.err


def test_no_package_takes_the_name_of_a_command_of_dltrain(package, dltrain):
    assert "Take the place" not in dltrain("--help", "trust=[counting]").out


@pytest.mark.parametrize(
    ("argv", "looked_for"),
    [
        (["data=digits", "-m"], False),
        (["evaluate", "run"], False),
        (["doctor", "--help"], False),
        (["find_lr"], False),
        ([], False),
        (["count", "run"], True),
        (["--help"], True),
        (["--config-dir", "conf", "model=small"], True),  # conf might be a command
    ],
)
def test_installed_commands_are_looked_for_only_where_one_may_be_meant(monkeypatch, argv, looked_for):
    calls = []
    monkeypatch.setattr(discovery, "_installed", lambda: calls.append(1) or [])
    assert "train" in discovery.find_commands([], argv) and bool(calls) is looked_for
