"""What a command may do with its call: write the training that its keys describe as a command line."""

from pathlib import Path

import pytest

from dltrain.config.call import Call

WORDS = ("model=cnn", "+optim.learning_rate=0.1", "rates=20", "data.path=my file.csv", "~augment.noise")


def call(*folders: str) -> Call:
    return Call(
        (), WORDS, {"rates": 20}, lambda: None, lambda saved: None, folders=(Path("own"), *map(Path, folders))
    )


def test_the_options_of_the_command_are_not_words_of_training():
    assert call().training_words() == tuple(word for word in WORDS if word != "rates=20")


@pytest.mark.parametrize(
    ("folders", "command", "expected"),
    [
        ((), "", "dltrain model=cnn 'data.path=my file.csv' '~augment.noise' optim.learning_rate=0.5"),
        (("my conf",), "find-lr", "dltrain find-lr --config-dir 'my conf' model=cnn"),
    ],
)
def test_a_training_is_written_as_it_is_typed_in_a_shell(folders, command, expected):
    found = call(*folders).training_command("optim.learning_rate=0.5", command=command)
    assert found.startswith(expected) and found.endswith(" optim.learning_rate=0.5")
