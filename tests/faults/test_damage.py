"""Damaged checkpoints are never loaded silently: the previous one is used."""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@dataclass(frozen=True)
class Run:
    """A run with two checkpoints, and the line that `dltrain hash` prints for each."""

    folder: Path
    lines: dict[str, str]  # name of the checkpoint -> line


@pytest.fixture(scope="module")
def run(dltrain, words, tmp_path_factory) -> Run:
    """Steps 2 and 4 of one run."""
    cwd = tmp_path_factory.mktemp("damage")
    lines = {}
    for line in ((*words, "steps=2", "output_dir=run"), ("resume", "run", "steps=4")):
        result = dltrain(*line, "quiet=true", cwd=cwd, figures=False)
        assert result.code == 0, result.err
        name = f"step_{len(lines) * 2 + 2:08d}"
        lines[name] = dltrain("hash", "run", cwd=cwd).out
        shutil.copytree(cwd / "run/checkpoints" / name, cwd / name)
    shutil.rmtree(cwd / "run/checkpoints")
    (cwd / "run/checkpoints").mkdir()
    for name in lines:
        (cwd / name).rename(cwd / "run/checkpoints" / name)
    assert len(set(lines.values())) == 2
    return Run(cwd / "run", lines)


def files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file())


def truncate(file: Path, rng: random.Random) -> None:
    os.truncate(file, rng.randrange(max(1, file.stat().st_size)))


def flip(file: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes() or b"\0")
    for _ in range(rng.choice([1, 1, 1, 8])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def append(file: Path, rng: random.Random) -> None:
    file.write_bytes(file.read_bytes() + rng.randbytes(rng.randint(1, 9)))


def delete(file: Path, rng: random.Random) -> None:
    file.unlink()


def swap(file: Path, rng: random.Random) -> None:
    """Swap it with another file of the same checkpoint, or with its counterpart in the other one."""
    root = next(p for p in file.parents if p.name.startswith("step_"))
    other = rng.choice(files_of(root))
    for likeness in root.parent.glob(f"step_*/{file.relative_to(root)}"):
        other = likeness if likeness != file and rng.random() < 0.5 else other
    one, two = file.read_bytes(), other.read_bytes()
    file.write_bytes(two)
    other.write_bytes(one)


def zeros(file: Path, rng: random.Random) -> None:
    """A file as a file system may leave it if its blocks were never written."""
    file.write_bytes(bytes(file.stat().st_size))


def move(file: Path, rng: random.Random) -> None:
    file.rename(file.with_name(file.name + "x"))


DAMAGE: list[Callable[[Path, random.Random], None]] = [truncate, flip, append, delete, swap, zeros, move]


def contents(path: Path) -> dict[Path, bytes]:
    return {p.relative_to(path): p.read_bytes() for p in files_of(path)}


@pytest.fixture
def mutate(run, dltrain, rng, tmp_path, count):
    """`mutate(times)` damages files of one checkpoint or both and checks the result of `dltrain hash`."""

    def go(times: int) -> None:
        newest = max(run.lines)
        for i in range(times):
            folder = shutil.copytree(run.folder, tmp_path / "run")
            places = [folder / "checkpoints" / n for n in run.lines]
            before = {place.name: contents(place) for place in places}
            both = i % 8 == 7
            done = []
            for place in places if both else places[-1:]:
                files = files_of(place)
                file = files[i // len(DAMAGE) % len(files)]
                what = DAMAGE[i % len(DAMAGE)]
                what(file, rng)
                done.append(f"{what.__name__} {file.relative_to(folder)}")
            whole = [place.name for place in places if contents(place) == before[place.name]]
            result = dltrain("hash", str(folder))
            story = f"{', '.join(done)}: {result}"
            count.tried += 1
            if whole:  # the newest one that is whole is used, and the skipped ones are reported
                assert (result.code, result.out) == (0, run.lines[max(whole)]), story
            else:
                assert result.code == 4 and result.out == "" and "training was not restarted" in result.err, story
            if not (folder / "checkpoints" / newest).exists():  # only the process that trains may rename it
                raise AssertionError(f"moved by a reader: {story}")
            gone = [n for n in run.lines if n not in whole and (not whole or n > max(whole))]
            for name in gone:
                assert f"checkpoint {name} is damaged" in result.err, story
            count.note(both_damaged=not whole, unharmed=len(whole) == 2)
            count.survived += 1
            shutil.rmtree(folder)

    return go


@pytest.mark.timeout(120)
def test_eighty_mutations_of_checkpoints(mutate):
    mutate(80)


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_thousands_of_mutations_of_checkpoints(mutate, tries):
    mutate(tries(10_000))


@pytest.mark.timeout(60)
def test_a_missing_manifest_is_reported(run, dltrain, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / "checkpoints" / max(run.lines) / "manifest.json").unlink()
    result = dltrain("hash", str(folder))
    assert (result.code, result.out) == (0, run.lines[min(run.lines)])
    assert f"checkpoint {max(run.lines)} is damaged (manifest.json is missing)" in result.err


def test_a_checkpoint_without_its_manifest_before_a_damaged_one_is_reported_too(run, dltrain, tmp_path):
    """Neither can be used: each is named, and the exit code is 4. Saves differ in their number of files."""
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / "checkpoints" / max(run.lines) / "arrays/_CHECKPOINT_METADATA").unlink()
    (folder / "checkpoints" / min(run.lines) / "manifest.json").unlink()
    result = dltrain("hash", str(folder))
    assert (result.code, result.out) == (4, "") and "training was not restarted" in result.err
    assert all(f"checkpoint {name} is damaged" in result.err for name in run.lines)


@pytest.mark.timeout(60)
def test_files_that_do_not_belong_to_a_checkpoint_change_nothing(run, dltrain, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    newest = folder / "checkpoints" / max(run.lines)
    for name in ("arrays/d/0", "arrays/_sharding", "extra.pkl", "arrays/ocdbt.process_1/manifest.ocdbt"):
        (newest / name).parent.mkdir(exist_ok=True)
        (newest / name).write_bytes(b"\x80\x04.")
    (folder / "checkpoints/step_99999999").mkdir()
    (folder / "checkpoints/step_0000000x").write_text("")
    assert dltrain("hash", str(folder)).out == run.lines[max(run.lines)]


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("without_figures")
def test_a_best_checkpoint_that_is_damaged_does_not_keep_a_run_from_its_end(dltrain, words, tmp_path):
    """The last state is intact, so the run can be resumed and finished."""
    still = ("model.norm=none", "model.dropout=0", "optim.learning_rate=1e-30")  # the first evaluation is the best
    assert dltrain(*words, *still, "steps=10", "output_dir=run", "quiet=true", cwd=tmp_path).code == 0
    best, _ = sorted((tmp_path / "run/checkpoints").glob("step_*"))
    truncate(max(files_of(best / "arrays"), key=lambda p: p.stat().st_size), random.Random(0))
    result = dltrain("resume", "run", "steps=12", cwd=tmp_path)
    assert result.code == 0, result.err
    assert f"{best.name} is damaged" in result.err
