"""Population-based training from the command line: mistakes are refused before anything is written."""

import pytest

RATE = "optim.learning_rate=interval(1e-3,1)"
SLOW = pytest.mark.slow
PBT = ("-m", "sweep=pbt", "data=iris", "model=mlp", "steps=4", "quiet=true")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no number to search"),
        (
            ("model.dropout=interval(0,0.5)", "model.widths=[4],[8]"),
            "sweep=pbt changes numbers while it trains; give it",
        ),
        (("batch_size=interval(8,64)",), "batch_size: sweep=pbt multiplies numbers"),
        (("data.validation=interval(0.1,0.3)",), "data.validation: sweep=pbt changes numbers while it trains"),
        ((RATE, "sweep.trials=1"), "a population has 2 to 64 members"),
        ((RATE, "sweep.objectives=[validation/loss]"), "set monitor=validation/loss"),
        ((RATE, "sweep.pruner=median"), "sweep=pbt stops no member"),
        ((RATE, "sweep.resample=1.5"), "sweep.resample=1.5: must be"),
        pytest.param((RATE, "monitor=null"), "compares members by the monitored metric", marks=SLOW),
        pytest.param((RATE, "eval_every=5min"), "needs a number of steps or epochs", marks=SLOW),
        ((RATE, "data.feed=streamed"), "do not fit into one program: the data is read ahead"),
    ],
)
@pytest.mark.usefixtures("quickly_compiled")
def test_a_mistake_is_refused_before_anything_is_written(dltrain, tmp_path, words, message):
    result = dltrain(*PBT, "output_dir=s", *words, cwd=tmp_path)
    assert result.code == 2 and message in result.err, result.err
    assert not list(tmp_path.iterdir())


@SLOW
def test_a_dry_run_checks_every_member_and_writes_nothing(dltrain, tmp_path):
    result = dltrain(*PBT, RATE, "sweep.trials=2", "dry_run=true", "output_dir=s", cwd=tmp_path)
    assert result.code == 0 and "dry run: 2 of 2 jobs can be trained" in result.out
    assert not list(tmp_path.iterdir())
