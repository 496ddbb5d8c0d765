"""The reference lists every key, command and part, and is up to date."""

import re
import runpy
from pathlib import Path

import pytest

from dltrain.config.catalogue import catalogue
from dltrain.config.command_options import COMMANDS
from dltrain.config.folders import packaged, read_tree
from dltrain.config.schema import ENGINE, NODES
from dltrain.errors import DltrainError

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "reference.py"))


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SCRIPT["PAGES"])
def test_the_reference_is_what_the_code_says(name):
    assert page(f"reference/{name}") == SCRIPT["written"](name), "run python scripts/reference.py"


def test_every_key_is_in_the_reference():
    listed = re.findall(r"^\| `([\w.]+)` \| .* \| .* \| (.+) \|$", page("reference/configuration.md"), flags=re.M)
    keys = [*ENGINE, *(f"{g.replace('*', 'NAME')}.{name}" for g, names in NODES.items() for name in names)]
    assert sorted(key for key, _ in listed) == sorted(keys)
    assert all(len(line) > 5 for _, line in listed)


def test_every_command_and_its_options_are_in_the_reference():
    sections = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", page("reference/commands.md"), flags=re.M | re.S))
    modules = {path.stem for path in (ROOT / "dltrain" / "commands").glob("*.py")} - {"__init__"}
    assert set(sections) == {name.replace("_", "-") for name in modules}
    for command, keys in COMMANDS.items():
        assert re.findall(r"^\| `(\w+)` \|", sections[command], flags=re.M) == list(keys), command


def test_every_choice_is_in_the_catalogue():
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page("catalogue.md"), flags=re.M | re.S))
    for group, found in catalogue(read_tree((packaged(),))).items():
        assert re.findall(r"^\| `(\w+)` \|", sections[group], flags=re.M) == list(found.lines), group


def test_every_exit_code_is_in_the_reference():
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", page("reference/exit-codes.md"), flags=re.M)}
    assert codes == {0, *(error.code for error in [DltrainError, *DltrainError.__subclasses__()])}
