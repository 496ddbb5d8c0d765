"""Every example in the README runs, and what it lists is there."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from dltrain.cli.main import main
from dltrain.config.schema import ENGINE, NODES

ROOT = Path(__file__).parent.parent
PAGES = runpy.run_path(str(ROOT / "scripts" / "catalogue.py"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"```bash\n(.*?)```", README, flags=re.S))
LINES = [line for line in BLOCKS.splitlines() if line.startswith("dltrain")]
TRAINING = [
    line
    for line in LINES
    if not re.match(r"dltrain (evaluate|generate|resume|hash|verify|doctor|list|--help)", line)
]
SINGLE = [line for line in TRAINING if " -m " not in line]
SHORT = ["limit_batches=1", "epochs=1", "quiet=true"]


@pytest.fixture
def data(monkeypatch, tmp_path):
    """Work in an empty folder, with MNIST at hand."""
    shared = Path(__file__).parents[2] / "shared" / "data"
    monkeypatch.chdir(tmp_path)
    if shared.is_dir():
        monkeypatch.setenv("DLTRAIN_DATA", str(shared))
    return shared


def words_of(line: str, data: Path) -> list[str]:
    if "mnist" in line and not (data / "mnist").is_dir():
        pytest.skip("MNIST is not at hand")
    return shlex.split(line)[1:]


@pytest.mark.parametrize("line", SINGLE)
def test_an_example_composes(line, data, capsys):
    assert main([*words_of(line, data), "--cfg", "job"]) == 0
    assert "_target_" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("line", TRAINING)
def test_an_example_trains(line, data, capsys):
    assert main([*words_of(line, data), *SHORT]) == 0
    assert list(Path().rglob("summary.json")) or "dry_run" in line


def test_the_commands_on_a_run_work_in_their_order(data, capsys):
    assert main([*SHORT, "output_dir=RUN"]) == 0
    commands = [line for line in LINES if " RUN" in line]
    assert {line.split()[1] for line in commands} == {"evaluate", "resume", "hash", "verify"}
    for line in commands:
        words = words_of(line, data)
        short = ["epochs=2"] if words[0] == "resume" else []
        assert main([*words, *short]) == 0, line
    assert re.search(r"^[0-9a-f]{64}  step 2$", capsys.readouterr().out, flags=re.M)


@pytest.mark.parametrize("page", PAGES["PAGES"])
def test_the_catalogue_is_what_dltrain_list_says(page, dltrain):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text == PAGES["written"](page), "run python scripts/catalogue.py"
    rows = re.findall(r"^\| \S*?`(\w+)`\S* \| (.*) \|$", text, flags=re.M)
    said = re.findall(r"^  (\w+)  +(.*)$", dltrain("list").out, flags=re.M)
    if page == "README.md":
        assert [name for _, names in rows for name in names.split(", ")] == [name for name, _ in said]
    else:
        assert [(name, re.sub(r"\\([|<*])", r"\1", line)) for name, line in rows] == said


def test_the_keys_that_the_readme_names_are_there():
    known = {*ENGINE, *(f"{group}.{name}" for group, keys in NODES.items() for name in keys)}
    named = re.findall(r"`((?:data|loss|optim|schedule|stop|early_stopping)\.\w+)", README)
    assert len(set(named)) > 8
    assert set(named) <= known | {"data.root", "data.path", "data.length", "data.tokens"}


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reliability.md"])
def test_the_tests_that_a_page_names_are_there(page):
    named = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", (ROOT / page).read_text(encoding="utf-8"))
    assert len(named) > 15
    for file, test in named:
        assert (ROOT / file).exists(), file
        assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), test
