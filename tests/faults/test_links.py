"""Links in a run folder: whatever a run writes, through none of them, also if they come after it has begun."""

import os
import shutil
from pathlib import Path

import pytest

from dltrain.runs import folder as folders

# TensorStore reports to an event loop that Orbax has closed if a write fails: nothing that dltrain could catch.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("quickly_compiled"),
]

RUN = ("data=iris", "model=rbm", "model.widths=[2]", "model.sweeps=2", "batch_size=50", "quiet=true")


@pytest.fixture(scope="module")
def run(dltrain, tmp_path_factory) -> Path:
    """A run with every kind of file: figures, samples, a profile, a batch that is not finite."""
    cwd = tmp_path_factory.mktemp("linked")
    result = dltrain(*RUN, "epochs=2", "profile=true", "output_dir=run", cwd=cwd)
    assert result.code == 0, result.err
    return cwd / "run"


def outside(cwd: Path) -> dict[str, bytes]:
    return {str(p): b"" if p.is_dir() else p.read_bytes() for p in sorted((cwd / "outside").rglob("*"))}


LINES = {
    "resume": ("resume", "run", "epochs=3", "profile=true"),
    "overwrite": (*RUN, "steps=2", "output_dir=run", "overwrite=true"),
    "generate": ("generate", "run", "count=3", "checkpoint=last"),
    "evaluate": ("evaluate", "run", "checkpoint=last"),
    "hash": ("hash", "run"),
}


def plant(run: Path, name: str, cwd: Path, kind: str) -> Path:
    """Put a link in the place of an entry of a copied run, that leads to a copy of the entry outside."""
    folder = shutil.copytree(run, cwd / "run")
    path, target = folder / name, cwd / "outside" / Path(name).name
    target.parent.mkdir()
    if path.is_dir() and not path.is_symlink():
        shutil.move(path, target)
    elif path.exists():
        shutil.move(path, target)
    else:
        target.write_text("mine")
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "hard" and target.is_file():
        os.link(target, path)
    else:
        path.symlink_to(os.path.relpath(target, path.parent) if kind == "relative" else target)
    return folder


NEW = (
    "report/generated_seed_0.npz",
    "report/generated_seed_0.png",
    "nonfinite",
    "train.log",
    "failure.txt",
    "lock",
)


def names(run: Path, *, every: bool) -> list[str]:
    """Entries of a run, and such as it may write later; five of them, or each."""
    found = sorted({*(str(p.relative_to(run)) for p in run.rglob("*")), *NEW})
    return found if every else found[:: max(1, len(found) // 5)][:5]


def check(dltrain, run, tmp_path, count, *, every: bool, monkeypatch) -> None:
    """Without the check when a run begins, so that every single write is tried: by each line, or by one in turn."""
    monkeypatch.setattr(folders, "refuse_links", lambda folder: None)
    lines = list(LINES.items())
    for i, name in enumerate(names(run, every=every)):
        for kind in ("absolute", "relative", "hard") if every else ("absolute",):
            for what, line in lines if every else lines[i % len(lines) :][:1]:
                cwd = tmp_path / "case"
                plant(run, name, cwd, kind)
                before = outside(cwd)
                result = dltrain(*line, cwd=cwd, figures=every)
                count.tried += 1
                assert outside(cwd) == before, (name, kind, what, result)
                assert result.code in (0, 2, 4, 6) and "internal error" not in result.err, (
                    name,
                    kind,
                    what,
                    result,
                )
                count.survived += 1
                shutil.rmtree(cwd)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_some_links_are_not_written_through(dltrain, run, tmp_path, count, monkeypatch):
    check(dltrain, run, tmp_path, count, every=False, monkeypatch=monkeypatch)


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_no_link_in_the_place_of_any_entry_is_written_through(dltrain, run, tmp_path, count, monkeypatch):
    check(dltrain, run, tmp_path, count, every=True, monkeypatch=monkeypatch)
