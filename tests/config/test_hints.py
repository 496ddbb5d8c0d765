"""Suggestions for mistyped words."""

from dltrain.config import hints

KNOWN = {
    "optim": "adam",
    "optim.learning_rate": 0.001,
    "optim.b1": 0.9,
    "model": "mlp",
    "model.dropout": 0.0,
    "model.widths": [128, 128],
    "epochs": 20,
    "batch_size": 64,
}


def test_a_slip_inside_a_node_is_looked_up_in_that_node_first() -> None:
    assert hints.nearest_keys("optim.leraning_rate", KNOWN) == ["optim.learning_rate"]
    assert hints.nearest_keys("model.dropuot", KNOWN) == ["model.dropout"]


def test_a_key_without_its_node_is_found() -> None:
    assert hints.nearest_keys("dropout", KNOWN) == ["model.dropout"]
    assert hints.nearest_keys("model.learning_rate", KNOWN) == ["optim.learning_rate"]


def test_names_of_other_tools_are_understood_also_inside_a_node() -> None:
    assert hints.nearest_keys("optim.lr", KNOWN) == ["optim.learning_rate"]
    assert hints.nearest_keys("Max-Epochs", KNOWN) == ["epochs"]


def test_without_a_similar_word_there_is_no_hint() -> None:
    assert hints.nearest_keys("zzz", KNOWN) == []
    assert hints.unknown("zzz", KNOWN) == "zzz: unknown; see dltrain train --help"
    assert "model has dropout, widths" in hints.unknown("model.zzz", KNOWN).replace("model.", "")


def test_values_are_shown_as_they_are_typed() -> None:
    assert [hints.show(v) for v in (None, True, [1, None], {"norm": 1.0}, 1e-3)] == [
        "null",
        "true",
        "[1, null]",
        "{norm: 1.0}",
        "0.001",
    ]
