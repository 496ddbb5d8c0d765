"""Everything that the pages name exists: parts, keys, tests, links, figures, and the test command."""

import re
import runpy
from pathlib import Path

import pytest

from dltrain.config.folders import read_yaml
from dltrain.config.schema import ENGINE, NODES

ROOT = Path(__file__).parents[2]
CATALOGUE = runpy.run_path(str(ROOT / "scripts" / "catalogue.py"))
ALL = sorted(p.relative_to(ROOT).as_posix() for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
KNOWN = {*ENGINE, *(f"{group}.{name}" for group, keys in NODES.items() for name in keys)}


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", CATALOGUE["PAGES"])
def test_the_catalogue_is_what_dltrain_list_says(page, dltrain):
    text = read(page)
    assert text == CATALOGUE["written"](page), "run python scripts/catalogue.py"
    result = re.findall(r"^  (\w+)  +(.*)$", dltrain("list").out, flags=re.M)
    if page == "README.md":
        rows = re.findall(r"^\| \[`(\w+)`\]\(docs/catalogue\.md#\1\) \| (.*) \|$", text, flags=re.M)
        assert [name for _, names in rows for name in names.split(", ")] == [name for name, _ in result]
    else:
        rows = re.findall(r"^\| `(\w+)` \| (.*) \| [^|]* \|$", text, flags=re.M)
        assert [(name, re.sub(r"\\([|<*])", r"\1", line)) for name, line in rows] == result


def test_the_keys_that_the_readme_names_are_there():
    named = re.findall(r"`((?:data|loss|optim|schedule|stop|early_stopping)\.\w+)`", read("README.md"))
    assert len(set(named)) > 5
    of_sources = {f"data.{key}" for path in (ROOT / "configs/data").glob("*.yaml") for key in read_yaml(path)}
    assert set(named) <= KNOWN | of_sources


def test_the_readmes_test_command_is_the_one_that_the_continuous_integration_ends_with():
    command = "pip install '.[test]' && pytest"
    assert command in read("README.md").splitlines()
    last = read(".ci/run").rstrip().splitlines()[-1]
    assert re.sub(r" -q| --\S+| -c \S+", "", last) == command


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reliability.md"])
def test_the_tests_that_a_page_names_are_there(page):
    named = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", read(page))
    assert len(named) > 15
    for file, test in named:
        assert (ROOT / file).exists(), file
        assert not test or f"def {test}(" in read(file), test


def test_the_architecture_lists_every_package_in_the_order_of_the_layers():
    layers = runpy.run_path(str(ROOT / "tests" / "test_floors.py"))["FLOORS"]
    table = read("docs/architecture.md").partition("| layer |")[2].partition("\n\n")[0]
    listed = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines()[2:]]
    packages = [sorted({name.split(".")[1] for name in layer}) for layer in layers]
    assert [sorted(row) for row in listed] == [row for row in packages if row != ["__main__"]]


@pytest.mark.parametrize("page", ALL)
def test_the_files_and_sections_that_a_page_links_to_are_there(page):
    for target in re.findall(r"\]\(((?!https?:)[^)\s]+)\)", read(page)):
        path, _, section = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if section:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.M)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert section in anchors, target
