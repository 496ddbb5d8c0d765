"""Pairs of texts: read from a file, or made by rules; every example matches its line."""

import numpy as np
import pytest

from dltrain.data.check import check_examples
from dltrain.data.sources.pairs import from_file, name_of, number_names, reversal
from dltrain.data.split import make_splits
from dltrain.data.vocabulary import as_text
from dltrain.errors import ConfigError, DataError
from dltrain.tasks import Classification, Generation
from dltrain.tree import flattened


@pytest.fixture
def file(tmp_path):
    def write(content: bytes):
        path = tmp_path / "pairs.txt"
        path.write_bytes(content)
        return str(path)

    return write


def texts(source):
    """Return both sides of all examples, as text."""
    rows, words = source.read(np.arange(len(source))), source.spec.vocabulary
    check_examples(rows, source.spec)
    return [
        tuple(as_text(row, words) for row in pair)
        for pair in zip(rows["inputs"]["source"], rows["targets"], strict=True)
    ]


def test_an_example_matches_its_line(file):
    source = from_file(file("ab\tü\nb\tab ü\n".encode()))
    assert source.spec.vocabulary == ("<pad>", "<start>", "<end>", " ", "a", "b", "ü")
    expected = {
        "inputs.source": [[4, 5], [5, 0]],
        "inputs.length": [2, 1],
        "inputs.tokens": [[1, 6, 0, 0, 0], [1, 4, 5, 3, 6]],
        "targets": [[6, 2, 0, 0, 0], [4, 5, 3, 6, 2]],
        "loss_mask": [[True, True, False, False, False], [True] * 5],
    }
    found = source.read(np.array([0, 1]))
    assert {name: array.tolist() for name, array in flattened(found).items()} == expected
    assert Generation().outputs(source.spec) == 7


def test_words_are_split_at_white_space_and_both_line_ends_and_a_byte_order_mark_are_read(file):
    source = from_file(file(b"\xef\xbb\xbfgood  day\tguten tag\r\nday\ttag"), tokens="words")
    assert source.spec.vocabulary[3:] == ("day", "good", "guten", "tag")
    assert texts(source) == [("good day", "guten tag"), ("day", "tag")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty"),
        (b"a\tb\nno tab\n", r"line 2: expected source<TAB>target, found 0 tabs"),
        (b"a\tb\n\na\tb\n", r"line 2: expected source<TAB>target, found 0 tabs"),
        (b"a\tb\tc\n", r"line 1: .* found 2 tabs"),
        (b"a\tb\n\tb\n", r"line 2: the source is empty"),
        (b"a\t\n", r"line 1: the target is empty"),
        (b"a\tb\na\xff\tb\n", r"line 2: byte 2 is not UTF-8"),
        (b"a\tbbbb\n", r"line 1: the target has 4 characters, more than data\.longest=3"),
    ],
)
def test_a_wrong_line_is_named(file, content, message):
    with pytest.raises(DataError, match=message):
        from_file(file(content), longest=3)


def test_other_mistakes_are_named(file, tmp_path):
    with pytest.raises(DataError, match=r"nowhere \(data\.path\): cannot be read"):
        from_file(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"line 1: <end> is a special token of dltrain"):
        from_file(file(b"a\tb <end>\n"), tokens="words")
    with pytest.raises(
        ConfigError, match=r"task=classification: needs one class per example as targets, and .* texts"
    ):
        Classification().check(from_file(file(b"a\tb\n")).spec)


def test_strings_are_reversed_differ_and_come_from_the_seed():
    source = reversal(200, letters="abcd", shortest=4, longest=6, seed=1)
    pairs = texts(source)
    assert all(target == source[::-1] for source, target in pairs)
    assert {len(source) for source, _ in pairs} == {4, 5, 6}
    assert len(set(pairs)) == 200
    again, other = (reversal(200, letters="abcd", shortest=4, longest=6, seed=seed) for seed in (1, 2))
    assert source.fingerprint == again.fingerprint != other.fingerprint


def number_of(words):
    """Parse a name: add up words, and multiply at hundred and thousand."""
    small = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    values = {word: i for i, word in enumerate(f"{small} seventeen eighteen nineteen".split())}
    values |= {w: 10 * i for i, w in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
    total = part = 0
    for word in words:
        match word:
            case "hundred":
                part *= 100
            case "thousand":
                total, part = 1000 * part, 0
            case _:
                part += values[word]
    return total + part


def test_numbers_are_spelled_out():
    pairs = texts(number_names(10_000, largest=9_999))
    assert sorted(int(number) for number, _ in pairs) == list(range(10_000))
    assert all(number_of(name.split()) == int(number) for number, name in pairs)
    assert len({name for _, name in pairs}) == 10_000
    assert name_of(1234) == "one thousand two hundred thirty four"
    assert name_of(700_019) == "seven hundred thousand nineteen"
    assert all(number_of(name_of(n).split()) == n for n in (0, 100_000, 999_999, 110_011))


@pytest.mark.parametrize("source", [reversal(300, shortest=2, longest=3), number_names(300, largest=400)])
def test_what_is_tested_never_occurs_in_training(source):
    pairs = texts(source)
    splits = make_splits(None, len(source), published={}, validation=0.1, test=0.2, seed=0)
    train, test = ({pairs[row][0] for row in rows} for rows in (splits.train, splits.test))
    assert test and not train & test


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: reversal(10, shortest=3, longest=2), r"data\.shortest=3 data\.longest=2"),
        (lambda: reversal(10, letters="aa"), r"data\.letters=aa: expected different letters"),
        (lambda: reversal(17, letters="ab", shortest=4), r"data\.examples=17: expected 1\.\.16"),
        (lambda: number_names(11, largest=9), r"data\.examples=11: expected 1\.\.10, as there are 10 numbers"),
    ],
)
def test_impossible_options_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
