"""The keys in which jobs differ, and their values."""

from pathlib import Path

from dltrain.report.sweeps.jobs import Job
from dltrain.report.sweeps.keys import varied


def job(*words: str) -> Job:
    return Job(Path("x"), "x", words, {})


def test_only_keys_that_differ_are_listed_with_numbers_as_numbers():
    jobs = [job("epochs=3", "optim.learning_rate=1e-3", "model=mlp", "+optim.b1=0.5", "seed=0")]
    jobs += [job("epochs=3", "optim.learning_rate=0.01", "model=cnn", "seed=1")]
    assert varied(jobs) == {"optim.learning_rate": [1e-3, 0.01], "model": ["mlp", "cnn"], "optim.b1": [0.5, None]}


def test_a_key_with_numbers_and_texts_has_texts():
    jobs = [job("optim.clip=null"), job("optim.clip=1.0"), job("~optim.clip")]
    assert varied(jobs) == {"optim.clip": ["null", "1", "removed"]}
    lists = [job("model.widths=[64]"), job("model.widths=[128,128]")]
    assert varied(lists) == {"model.widths": ["[64]", "[128,128]"]}
