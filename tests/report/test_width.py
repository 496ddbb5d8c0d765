"""Tables and lines fit terminals of any width, and lose nothing where there is none."""

import pytest
from rich.cells import cell_len

from dltrain.report.width import Column, shortened, table, wrapped

LAYERS = [Column("layer"), Column("kind", drop=2), Column("output", drop=1), Column("parameters", right=True)]
LAYER_ROWS = [("convolutions.0", "Conv", "8×8×16", "160"), ("head", "Linear", "10", "10,250")]
SWEEP = [Column("jobs"), Column("overrides", wraps=True), Column("validation/accuracy", right=True)]
SWEEP_ROWS = [("0 1", "model=mlp optim.learning_rate=0.001", "0.9722 ± 0.0100"), ("2", "model=cnn", "")]


def test_without_a_terminal_a_table_is_complete():
    assert table(LAYERS, LAYER_ROWS, None) == [
        "layer           kind    output  parameters",
        "convolutions.0  Conv    8×8×16         160",
        "head            Linear  10          10,250",
    ]
    assert max(map(len, table(SWEEP, SWEEP_ROWS, None))) == 62


def test_narrow_terminals_leave_columns_out_or_wrap_them():
    assert table(LAYERS, LAYER_ROWS, 40)[0] == "layer           output  parameters"
    assert table(LAYERS, LAYER_ROWS, 30)[0] == "layer           parameters"
    lines = table(SWEEP, SWEEP_ROWS, 60)
    assert lines[1:3] == [
        "0 1   model=mlp                              0.9722 ± 0.0100",
        "      optim.learning_rate=0.001",
    ]


def test_a_table_that_does_not_fit_becomes_a_list():
    assert table(SWEEP, SWEEP_ROWS, 40) == [
        "jobs 0 1",
        "  overrides model=mlp",
        "    optim.learning_rate=0.001",
        "  validation/accuracy 0.9722 ± 0.0100",
        "jobs 2",
        "  overrides model=cnn",
    ]


@pytest.mark.parametrize("width", [1, 2, 7, 10, 24, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal_but_for_single_words(width):
    text = "epoch      1  step      21  validation  loss 0.5000  accuracy 0.9000  f1 0.8987"
    for lines in (wrapped(text, width), table(SWEEP, SWEEP_ROWS, width), table(LAYERS, LAYER_ROWS, width)):
        for line in lines:
            assert cell_len(line) <= width or len(line.split()) <= 3, line
    assert "".join(" ".join(wrapped(text, width)).split()) == text.replace(" ", "")


def test_a_name_and_its_number_stay_together():
    assert wrapped("loss 0.5000  accuracy 0.9000", 16, indent=4) == ["loss 0.5000", "    accuracy 0.9000"]
    assert wrapped("", 10) == [""]


def test_a_line_is_shortened_in_the_order_given():
    parts = [("step 1/2", "1/2"), ("loss 3",), ("epoch 1.00", "")]
    assert shortened(parts, [2, 0], None) == "step 1/2  loss 3  epoch 1.00"
    assert shortened(parts, [2, 0], 20) == "step 1/2  loss 3"
    assert shortened(parts, [2, 0], 5) == "1/2  loss 3"
