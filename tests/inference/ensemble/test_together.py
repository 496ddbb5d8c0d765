"""One file, read with several encoders: an example is valid if all of them take it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dltrain.data.bad import Bad
from dltrain.data.records.block import Block
from dltrain.errors import DataError
from dltrain.inference.ensemble.together import Together, distinct

pytestmark = pytest.mark.slow  # trains on another worker what test_ensemble.py has trained


@dataclass(frozen=True)
class Encoder:
    value: int

    def to_json(self):
        return {"value": self.value}


def test_equal_encoders_read_a_file_once():
    assert distinct([Encoder(1), Encoder(2), Encoder(1), None, None]) == ([0, 1, 3], [0, 1, 0, 2, 2])


class Reader:
    total, measure = 4, "rows"

    def __init__(self, factor, bad, count=4):
        self._factor, self._bad, self._count = factor, bad, count

    def blocks(self):
        valid = ~np.isin(np.arange(self._count), self._bad)
        bad = [Bad("file", f"line {i}", "x", "wrong") for i in self._bad]
        yield Block(np.arange(self._count)[valid] * self._factor, valid, {"line": np.arange(self._count)}, bad, 4)

    def notes(self):
        return ["a note"]


def test_what_one_encoder_refuses_is_left_out_for_all():
    together = Together(Path("file"), [Reader(1, [2]), Reader(10, [0, 2])])
    (block,) = together.blocks()
    assert block.valid.tolist() == [False, True, False, True]
    assert [inputs.tolist() for inputs in block.inputs] == [[1, 3], [10, 30]]
    assert [bad.row for bad in block.bad] == ["line 0", "line 2"]
    assert together.notes() == ["a note"]


def test_nothing_is_valid_if_nothing_is_left():
    (block,) = Together(Path("file"), [Reader(1, [0, 1]), Reader(1, [2, 3])]).blocks()
    assert block.inputs is None and not block.valid.any()


def test_readers_that_find_other_examples_are_refused():
    with pytest.raises(DataError, match="read different examples"):
        list(Together(Path("file"), [Reader(1, []), Reader(1, [], count=3)]).blocks())
