"""Streaming from the command line: waiting is reported, and a source that fails ends the run with its step."""

import json

import pytest

from dltrain.data.sources.rows import Rows
from dltrain.report import finish

STREAMED = ("data=iris", "model=linear", "epochs=2", "log_every=1", "data.feed=streamed", "output_dir=run")

pytestmark = pytest.mark.usefixtures("without_figures", "quickly_compiled")


def test_the_share_of_the_time_spent_waiting_is_in_the_summary_the_log_and_on_the_screen(dltrain, tmp_path):
    result = dltrain(*STREAMED, cwd=tmp_path)
    assert result.code == 0, result.err
    waiting = json.loads((tmp_path / "run" / "summary.json").read_text())["waiting"]
    assert 0 < waiting < 1
    assert f"\n{waiting:.1%} of the time was spent waiting for data\n" in result.out
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= row["waiting"] <= 1 for row in rows if row["split"] == "train")


def test_data_on_the_device_is_not_waited_for(digits_run):
    assert digits_run.summary["waiting"] is None
    assert "waiting for data" not in digits_run.result.out


@pytest.mark.parametrize(("waiting", "advised"), [(0.1, False), (0.11, True)])
def test_above_a_tenth_the_final_report_says_what_helps(dltrain, tmp_path, monkeypatch, waiting, advised):
    monkeypatch.setattr(finish, "_waiting", lambda *args: waiting)
    result = dltrain(*STREAMED, cwd=tmp_path)
    assert result.code == 0, result.err
    for key in ("data.threads=...", "data.feed=resident"):
        assert (key in result.out.split("waiting for data\n")[1]) is advised


def test_a_source_that_fails_while_training_ends_the_run_with_3_and_its_step(dltrain, tmp_path, monkeypatch):
    read, batches = Rows.read, []

    def failing(self, rows):
        if len(rows) == 10:  # a batch of training, whose order the one thread keeps
            batches.append(rows)
            if len(batches) == 5:
                raise OSError("the disk is gone")
        return read(self, rows)

    monkeypatch.setattr(Rows, "read", failing)
    result = dltrain(*STREAMED, "batch_size=10", "eval_batch_size=7", "data.threads=1", cwd=tmp_path)
    assert result.code == 3
    assert result.err.startswith("dltrain: reading the batch of step 5 failed: the disk is gone")
    assert not (tmp_path / "run" / "summary.json").exists()
