"""Prediction for files of any length: read, predicted and written in blocks, each example in its place."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Bad
from dltrain.data.progress import progress
from dltrain.data.records.block import Block, Records
from dltrain.errors import DataError
from dltrain.inference.bundle import Bundle
from dltrain.inference.compiled import decision_shapes
from dltrain.inference.predictions import Predictions
from dltrain.inference.writers import Writer, open_writer

AHEAD = 2  # blocks that are read before they are predicted


class OnBad(StrEnum):
    """What happens to an example that cannot be read."""

    EMPTY = "empty"  # its prediction is empty
    ERROR = "error"


@dataclass
class Predicted:
    """What came of a file.

    Attributes:
        count: number of examples.
        bad: those without a prediction.
        notes: what the user should know of the others.
        reading: seconds spent on reading and encoding, in a thread of its own.
        predicting: seconds spent on the model.
        writing: seconds spent on writing.
    """

    count: int = 0
    bad: list[Bad] = field(default_factory=list)
    notes: Sequence[str] = ()
    reading: float = 0.0
    predicting: float = 0.0
    writing: float = 0.0


Predict = Callable[[Any], Predictions]
"""The inputs of a block -> what is predicted for them."""


def predict_records(
    predict: Predict,
    records: Records,
    output: str,
    *,
    empty: Callable[[], Predictions],
    on_bad: OnBad = OnBad.EMPTY,
    overwrite: bool = False,
) -> Predicted:
    """Predict for all records and write the predictions, in the order of the records.

    Args:
        predict: the model.
        records: new examples.
        output: path of the file; `-` for CSV on stdout.
        empty: returns the predictions of no examples, for the names and types of the columns.
        on_bad: what happens to an example that cannot be read.
        overwrite: whether an output that exists is replaced.

    Raises:
        ConfigError: the output cannot be such a file.
        DataError: the records cannot be read, all are bad, or one is and `on_bad` is error.
        DiskError: the output cannot be written; nothing is left of it then.
    """
    done = Predicted()
    with (
        open_writer(output, overwrite=overwrite, empty=empty) as writer,
        progress("predicting", records.total, unit=records.measure) as advance,
    ):
        for block in _read_ahead(_timed(records.blocks(), done)):
            _add(predict, block, writer, done, on_bad)
            advance(block.done)
        if len(done.bad) == done.count:
            raise DataError(f"{done.bad[0]} ({'all examples are' if done.count > 1 else 'it is'} bad)")
    done.notes = records.notes()
    return done


def _add(predict: Predict, block: Block, writer: Writer, done: Predicted, on_bad: OnBad) -> None:
    if block.bad and on_bad is OnBad.ERROR:
        raise DataError(f"{block.bad[0]}; correct it, or on_bad=empty leaves its prediction empty")
    start = time.perf_counter()
    found = predict(block.inputs) if block.valid.any() else None
    middle = time.perf_counter()
    writer.add(block.ids, found, block.valid)
    done.count += len(block.valid)
    done.bad += block.bad
    done.predicting += middle - start
    done.writing += time.perf_counter() - middle


def no_predictions(bundle: Bundle) -> Predictions:
    """Return the predictions of no examples, for the names and types of the columns."""
    shapes = decision_shapes(bundle)
    found = {name: np.zeros((0, *shape.shape[1:]), shape.dtype) for name, shape in shapes.items()}
    return Predictions(found, bundle.raw_spec)


def _timed(blocks: Iterable[Block], done: Predicted) -> Iterator[Block]:
    start = time.perf_counter()
    for block in blocks:
        done.reading += time.perf_counter() - start
        yield block
        start = time.perf_counter()


def _read_ahead(blocks: Iterator[Block]) -> Generator[Block]:
    """Read in a thread while blocks are predicted and written; it ends with the caller."""
    waiting: queue.Queue[Any] = queue.Queue(AHEAD)
    ended = threading.Event()

    def put(item: Any) -> bool:
        while not ended.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return True
        return False

    def read() -> None:
        try:
            for block in blocks:
                if not put(block):
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        ended.set()
        thread.join()


def bad_rows_path(output: str) -> Path:
    """Return where the bad examples of an output are listed."""
    path = Path(output).expanduser()
    return path.with_name(f"{path.stem}.bad_rows.csv")
