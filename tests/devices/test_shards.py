"""Several processes write and read their own parts of a checkpoint: no process holds a whole divided array."""

import json
import shutil
from pathlib import Path

import pytest

from dltrain.devices.heartbeat import CODE
from dltrain.errors import DiskError, NonFiniteError
from dltrain.runs import checkpoint
from tests.helpers.processes import losses, processes, steps_saved

OBSERVED = (str(Path(__file__).parent.parent / "helpers" / "observed_process.py"),)
WORDS = (
    *("data=iris", "model=mlp", "model.widths=[64,64]", "batch_size=24", "schedule=constant", "log_every=1"),
    *("eval_every=10", "checkpoint_every=10", "keep_every=10", "runtime.cache=false"),
)
WIDE = (64, 64)  # the shape of a layer, which {fsdp: 2} divides; no other array of the run has it
RUN = "run"

pytestmark = pytest.mark.timeout(900)  # several starts of several processes, which share the cores


def observe(
    count: int, *words: str, folder: Path, monkeypatch: pytest.MonkeyPatch, codes: tuple[int, ...] = (0,), flags=""
) -> tuple[list[dict], list[str]]:
    """Run dltrain in observed processes; return what they noted and printed."""
    notes = folder / "notes"
    notes.mkdir(parents=True)
    monkeypatch.setenv("OBSERVED", str(notes))
    with processes(count, *words, output=folder / "printed", program=OBSERVED, flags=flags) as running:
        ended = running.wait()
        printed = [running.printed(rank) for rank in range(count)]
    assert set(ended) <= {*codes}, printed
    return [json.loads(line) for file in notes.iterdir() for line in file.read_text().splitlines()], printed


def held(notes: list[dict], what: str, whole: tuple[int, ...] = WIDE) -> set[tuple[int, ...]]:
    """The shapes of the parts that any process held of arrays of this shape, besides histograms and report."""
    found = [n for n in notes if n["what"] == what and tuple(n["whole"]) == whole and n["phase"] == "training"]
    return {tuple(shape) for note in found for shape in note["held"]}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """A run of two processes with divided parameters, and what they noted."""
    folder = tmp_path_factory.mktemp("two")
    run = folder / RUN
    with pytest.MonkeyPatch.context() as patch:
        words = (*WORDS, "steps=20", f"output_dir={run}", "runtime.mesh={fsdp: 2}")
        return run, observe(2, *words, folder=folder / "first", monkeypatch=patch)[0]


@pytest.mark.slow
def test_each_process_writes_its_parts(two: tuple[Path, list[dict]]) -> None:
    run, notes = two
    assert steps_saved(run) == [10, 20]
    path = run / "checkpoints" / "step_00000020"
    files = json.loads((path / "manifest.json").read_text())["files"]
    for rank in (0, 1):
        own = [found["size"] for name, found in files.items() if f"/ocdbt.process_{rank}/d/" in name]
        assert sum(own) > 64 * 64 * 4  # half of the layer and its two moments, compressed
    assert not checkpoint.problems(path)
    assert {note["rank"] for note in notes} == {0, 1}
    assert held(notes, "copied divided") == {(32, 64)}
    assert not held(notes, "live") and not held(notes, "gathered")
    assert "gathered" in {note["what"] for note in notes if note["phase"] == "report"}  # it would be noted


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The losses of an uninterrupted run of a single process."""
    folder = tmp_path_factory.mktemp("whole")
    with processes(1, *WORDS, "steps=40", f"output_dir={folder}/{RUN}", output=folder / "printed") as running:
        assert running.wait() == [0], running.printed(0)
    return losses(folder / RUN)


@pytest.mark.slow
@pytest.mark.parametrize(
    "counts_and_meshes",
    [((1, "auto"), (2, "{fsdp: 2}")), ((4, "{data: 2, fsdp: 2}"), (2, "{model: 2}"))],
)
def test_resumes_on_other_processes_and_meshes_like_an_uninterrupted_run(
    two: tuple[Path, list],
    whole: dict[int, float],
    counts_and_meshes: tuple[tuple[int, str], ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / RUN
    shutil.copytree(two[0], run)
    for number, (count, mesh) in enumerate(counts_and_meshes):
        words = ("resume", str(run), f"steps={30 + 10 * number}", f"runtime.mesh={mesh}")
        notes, _ = observe(count, *words, folder=tmp_path / str(number), monkeypatch=monkeypatch)
        assert not held(notes, "gathered") and not held(notes, "live")
        assert held(notes, "read") == {WIDE if count == 1 else (32, 64)}
    ours = losses(run)
    assert sorted(ours) == sorted(whole) == list(range(1, 41))
    assert list(ours.values()) == pytest.approx([whole[step] for step in ours], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_a_damaged_file_of_another_process_is_found(
    two: tuple[Path, list[dict]], tmp_path: Path, count: int
) -> None:
    run = tmp_path / RUN
    shutil.copytree(two[0], run)
    newest = steps_saved(run)[-1]
    file = next((run / "checkpoints" / f"step_{newest:08d}" / "arrays" / "ocdbt.process_1" / "d").iterdir())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    words = ("resume", str(run), "steps=30", "runtime.mesh=auto")
    with processes(count, *words, output=tmp_path / "printed") as running:
        assert running.wait() == [0] * count, running.printed(0)
        printed = running.printed(0)
    assert f"step_{newest:08d} is damaged" in printed and "ocdbt.process_1" in printed
    assert (run / "checkpoints" / f"damaged_step_{newest:08d}").is_dir()
    assert f"resumed {run} at step {newest - 10}" in printed


@pytest.mark.slow
def test_all_learn_of_a_process_that_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL_AT", "1")
    run = tmp_path / RUN
    words = (*WORDS, "steps=100000", f"output_dir={run}", "runtime.mesh={fsdp: 2}")
    codes = (DiskError.code, CODE)
    _, printed = observe(2, *words, folder=tmp_path / "printed", monkeypatch=monkeypatch, codes=codes)
    assert all("No space left on device" in text for text in printed)
    assert "process 1" in printed[0]
    assert steps_saved(run) == [10]
    assert not [path for path in (run / "checkpoints").iterdir() if path.name.startswith(checkpoint.DRAFT)]


@pytest.mark.slow
@pytest.mark.parametrize("blind", ["", "1"])
def test_all_go_back_to_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: str) -> None:
    monkeypatch.setenv("BLIND", blind)
    run = tmp_path / RUN
    words = (
        *WORDS,
        "steps=20",
        f"output_dir={run}",
        "runtime.mesh={fsdp: 2}",
        "optim=sgd",
        "optim.learning_rate=1e30",
    )
    codes = (NonFiniteError.code, CODE)
    notes, printed = observe(
        2, *words, "on_nonfinite=rollback", folder=tmp_path / "1", monkeypatch=monkeypatch, codes=codes
    )
    assert "back to step 0, leaving out step" in printed[0] and "(3 of at most 3)" in printed[0]
    assert held(notes, "read") == {WIDE if blind else (32, 64)}
    assert held(notes, "gathered") == ({WIDE} if blind else set())


@pytest.mark.slow
def test_process_0_writes_everything_if_another_one_does_not_see_the_folder(
    whole: dict[int, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLIND", "1")
    run, mesh = tmp_path / RUN, "runtime.mesh={fsdp: 2}"
    words = (*WORDS, "steps=10", f"output_dir={run}", mesh)
    _, printed = observe(2, *words, folder=tmp_path / "1", monkeypatch=monkeypatch)
    assert "processes 1 do not share this file system: process 0 writes everything" in printed[0]
    written = {path.name for path in (run / "checkpoints/step_00000010/arrays").iterdir()}
    assert "ocdbt.process_0" in written and "ocdbt.process_1" not in written
    notes, _ = observe(2, "resume", str(run), "steps=20", mesh, folder=tmp_path / "2", monkeypatch=monkeypatch)
    assert held(notes, "read") == {(32, 64)}
    ours = losses(run)
    assert list(ours.values()) == pytest.approx([whole[step] for step in range(1, 21)], rel=1e-5)
