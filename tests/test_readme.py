"""Every example in the README runs, and what it lists is there."""

import re
import shlex
from pathlib import Path

import pytest

from dltrain.cli import main
from dltrain.config.tree import packaged, read_tree

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
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


def test_the_table_of_choices_names_only_what_there_is():
    tree = read_tree((packaged(),))
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|$", README, flags=re.M)
    assert {group for group, _ in rows} == set(tree) - {"callbacks"}
    for group, text in rows:
        plain = re.sub(r"\(.*?\)|`.*?`|each with.*", "", text)
        named = [w for w in re.split(r"[,;\s]+", plain) if re.fullmatch(r"\w+", w)]
        assert set(named) <= set(tree[group]), group
        if "..." not in text:
            assert set(named) == set(tree[group]), group


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reliability.md"])
def test_the_tests_that_a_page_names_are_there(page):
    root = Path(__file__).parent.parent
    named = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", (root / page).read_text(encoding="utf-8"))
    assert len(named) > 15
    for file, test in named:
        assert (root / file).exists(), file
        assert not test or f"def {test}(" in (root / file).read_text(encoding="utf-8"), test
