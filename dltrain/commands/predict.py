"""Predict for new examples: dltrain predict RUN input=new.csv output=predictions.csv.

The input has the format of the training data: a table (columns in any order, no target needed), a folder of images
or one image, a table of texts, a file with a text on each line or a folder of text files, rows of a time series, or
arrays (.npz, .npy). `-` is standard input. The output is CSV, JSON lines, Parquet or .npz, by its ending. Examples
that cannot be read have empty predictions and are listed; on_bad=error ends at the first one. RUN may be the folder
of an ensemble. Any other key changes the run's own config for this call.
"""

import contextlib
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from dltrain.config.call import Call
from dltrain.data.bad import as_csv
from dltrain.errors import ConfigError
from dltrain.inference.called import called_model
from dltrain.inference.predict import OnBad, Predicted, bad_rows_path
from dltrain.inference.writers import STDOUT
from dltrain.report.console import Screen, print_warning
from dltrain.runs.files import Files

SHOWN = 5  # bad examples that are printed


def run(call: Call) -> int:
    """Open the run, predict, and say what was written; with `output=-` only predictions go to stdout."""
    options = call.options
    if options["input"] is None:
        raise ConfigError("input: missing; input=FILE names the new examples, input=- reads standard input")
    opened = called_model(call, "predict", warn=print_warning)
    with _as_file(str(options["input"])) as path:
        done = opened.predict_file(
            path,
            str(options["output"]),
            on_bad=OnBad(options["on_bad"]),
            keep=options["keep"],
            overwrite=options["overwrite"],
        )
    _report(done, str(options["output"]), by=opened.about)
    return 0


@contextlib.contextmanager
def _as_file(name: str) -> Generator[Path]:
    """Give the path of the input; standard input becomes a temporary file, since it is read more than once."""
    if name != "-":
        yield Path(name).expanduser().absolute()
        return
    with tempfile.TemporaryDirectory(prefix="dltrain-") as folder:
        path = Path(folder) / "standard input"
        with path.open("wb") as file:
            while part := sys.stdin.buffer.read(1 << 20):
                file.write(part)
        yield path


def _report(done: Predicted, output: str, *, by: str) -> None:
    for note in done.notes:
        print_warning(f"warning: {note}")
    if done.bad:
        print_warning(f"warning: {len(done.bad):,} of {done.count:,} examples have empty predictions:")
        for bad in done.bad[:SHOWN]:
            print_warning(f"  {bad}")
    listed = ""
    if done.bad and output != STDOUT:
        path = bad_rows_path(output)
        Files(path.parent).replace_text(path.name, as_csv(done.bad))
        listed = f"\nbad rows    {path}"
    if output == STDOUT:
        return
    times = f"reading {done.reading:.1f} s, predicting {done.predicting:.1f} s, writing {done.writing:.1f} s"
    Screen().say(f"predictions {output}: {done.count:,} examples, {by} ({times}){listed}")
