"""What follows -- in `dltrain launch`: it is checked before anything is queued or started."""

import re
from pathlib import Path

import pytest

LAUNCHERS = (
    ("local", "processes=4"),
    ("slurm", "processes=4"),
    ("ray", "hosts=4"),
    ("kubernetes", "image=i", "hosts=4"),
)
WRONG = {
    ("modle=mlp",): "modle: unknown; did you mean model",
    ("model=mlpp",): "model=mlpp: no such choice; did you mean mlp?",
    ("optim.learning_rate=fast",): "optim.learning_rate=fast: must be a finite number > 0",
    ("model=mlp", "model.width=[4]"): "model.width: unknown; did you mean model.widths",
    ("data=iris", "batch_size=30"): "batch_size: 30 examples (batch_size / optim.accumulate) must divide by the 4",
    ("data=iris", "batch_size=24", "runtime.mesh={data: 3}"): "has 3 of the 4 devices of 4 processes",
    ("resume", "nowhere"): "nowhere: folder not found",
    ("resume",): "name one run folder",
    ("find-lr", "data=iris"): "launch -- find-lr: only train and resume run in several processes",
    ("-m", "seed=0,1"): "the jobs of a sweep train in one process each",
    ("--help",): "launch -- --help: only --config-dir can be used here",
    ("data=iris", "runtime.hosts=auto"): "runtime.hosts: is set by the launcher",
    ("data=iris", "hydra.run.dir=x"): "name the folder of a launched run with output_dir=FOLDER",
    ("data=iris", "hydra.mode=MULTIRUN"): "the jobs of a sweep train in one process each",
    ("data=iris", "extra"): "launch -- extra: only train and resume",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
@pytest.mark.parametrize("launcher", LAUNCHERS[:1], ids=lambda words: words[0])
def test_what_cannot_train_is_refused_before_anything_starts(dltrain, launcher, words, tmp_path: Path) -> None:
    result = dltrain("launch", *launcher, "--", *words, cwd=tmp_path)
    assert result.code == 2 and re.search(re.escape(WRONG[words]), result.err), result.err
    assert not result.out and not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [("modle=mlp",), ("data=iris", "batch_size=30")], ids=" ".join)
@pytest.mark.parametrize("launcher", LAUNCHERS[1:], ids=lambda words: words[0])
def test_every_launcher_checks(dltrain, launcher, words, tmp_path: Path) -> None:
    result = dltrain("launch", *launcher, "dry_run=true", "--", *words, cwd=tmp_path)
    assert result.code == 2 and re.search(re.escape(WRONG[words]), result.err), result.err
    assert not result.out and not list(tmp_path.iterdir())


def test_a_resume_is_checked_against_its_run(dltrain, digits_run, tmp_path: Path) -> None:
    run = str(digits_run.folder)
    words = ("launch", "slurm", "dry_run=true", "--", "resume", run)
    assert dltrain(*words, "epochs=40", cwd=tmp_path).code == 0
    for word, said in (("seed=7", "seed: 0 -> 7"), ("epocs=40", "epocs: unknown")):
        result = dltrain(*words, word, cwd=tmp_path)
        assert result.code == 2 and said in result.err


def test_words_are_composed_with_their_own_folder_of_yaml(dltrain, tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    text = "# Mine\n_target_: dltrain.models.linear.Linear\nsiz: 3\n"
    (tmp_path / "own" / "model" / "mine.yaml").write_text(text)
    words = ("launch", "slurm", "dry_run=true", "--", "data=iris", "model=mine")
    assert "model=mine: no such choice" in dltrain(*words, cwd=tmp_path).err
    result = dltrain(*words, "-cd", str(tmp_path / "own"), cwd=tmp_path)
    assert result.code == 2 and "siz" in result.err
