"""`dltrain find-batch`: the table, the recommended size, and what is written."""

import json
import re
import signal

import pytest

from dltrain.commands import find_batch
from dltrain.tuning import batches
from dltrain.tuning.batches import Measured, recommend

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.fixture
def fake(monkeypatch):
    """Batches that are faster the larger they are, without any training."""
    monkeypatch.setattr(
        batches, "measure", lambda parts, plan, size, **_: Measured(size, 100.0, 100.0 * size, size * 2**20)
    )


def test_sizes_are_measured_and_the_recommendation_follows_from_the_numbers(dltrain, tmp_path):
    words = ("data=iris", "model=linear", "largest=16", "seconds=0.02")
    result = dltrain("find-batch", *words, cwd=tmp_path)
    assert result.code == 0, result.err
    about = json.loads((tmp_path / "find-batch" / "iris-linear" / "batch_sizes.json").read_text())
    found = [Measured(**one) for one in about["measured"]]
    assert [one.batch_size for one in found] == [8, 16] and about["recommended"] == recommend(found)
    assert re.findall(r"^ +(\d+)  ", result.out, flags=re.M) == ["8", "16"]
    size = f"batch_size={about['recommended']}"
    assert f"\ntake    {size}," in result.out and f"\nnext    dltrain data=iris model=linear {size}\n" in result.out
    assert (tmp_path / "find-batch" / "iris-linear" / "batch_sizes.png").is_file()
    assert "ended   largest=16" in result.out


def test_a_size_with_few_steps_per_epoch_is_commented_on(fake, dltrain, tmp_path):
    result = dltrain("find-batch", "model=linear", cwd=tmp_path)
    assert "take    batch_size=1024," in result.out
    assert "note    an epoch then has 2 steps instead of 21 (batch_size=64)" in result.out
    assert "note" not in dltrain("find-batch", "model=linear", "largest=64", cwd=tmp_path).out


def test_ctrl_c_shows_and_writes_what_was_measured(fake, dltrain, tmp_path, monkeypatch):
    class Pressed(find_batch.Signals):
        """Ctrl-C after two sizes."""

        asked = 0

        @property
        def received(self):
            Pressed.asked += 1
            return signal.SIGINT if Pressed.asked > 2 else None

        @received.setter
        def received(self, value):
            pass

    monkeypatch.setattr(find_batch, "Signals", Pressed)
    size = batches.measure

    def measure(*args, stop, **options):
        return None if stop() else size(*args, **options)

    monkeypatch.setattr(batches, "measure", measure)
    result = dltrain("find-batch", "data=iris", "output=here", cwd=tmp_path)
    assert result.code == 130 and "stopped at a batch of 32" in result.err and "take    batch_size=16" in result.out
    assert len(json.loads((tmp_path / "here" / "batch_sizes.json").read_text())["measured"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("somewhere",), "somewhere: dltrain find-batch takes group=choice and key=value only"),
        (("batch_size=64",), "batch_size=64: find-batch tries several batch sizes; set smallest and largest"),
        (("smallest=0",), "smallest=0: must be a whole number ≥ 1"),
        (("smallest=1000",), "smallest=1000: no batch of at least 1000 examples fits into 108 training examples"),
        (("seconds=0",), "seconds=0: must be a finite number > 0"),
        (("output=file",), "output=file: is a file; name a folder"),
    ],
)
def test_a_mistake_exits_with_2_before_anything_is_written(dltrain, tmp_path, words, message):
    (tmp_path / "file").touch()
    result = dltrain("find-batch", "data=iris", *words, cwd=tmp_path)
    assert result.code == 2 and message in result.err, result.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
