"""Texts are cut into words, characters and hashed n-grams, the same in every process."""

import subprocess
import sys
import zlib

import pytest

from dltrain.data.texts.cut import characters, in_buckets, ngrams, normalised, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A good, short film.", ["A", "good", ",", "short", "film", "."]),
        ("don't say it’s", ["don't", "say", "it’s"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("win £100 @ 5pm!!", ["win", "£", "100", "@", "5pm", "!", "!"]),
        ("smile 😀👍🏽 now", ["smile", "😀", "👍", "🏽", "now"]),
        ("nul\0byte", ["nul", "\0", "byte"]),
        ("  \t\n ", []),
        ("", []),
        ("Übermut снег 雪が", ["Übermut", "снег", "雪が"]),
    ],
)
def test_words_and_signs_are_found(text, expected):
    assert words(text) == expected
    assert characters(text) == list(text)


def test_equal_letters_are_equal_whatever_their_bytes():
    assert normalised("Café", lowercase=True) == normalised("cafe\u0301", lowercase=True) == "café"
    assert normalised("Café", lowercase=False) == "Café"


def crc(text):
    return zlib.crc32(text.encode())


def test_ngrams_are_the_crcs_of_words_pairs_and_runs_of_characters():
    assert ngrams(["a", "good", "film"], None) == [crc(t) for t in ("a", "good", "film", "a good", "good film")]
    inside = ["<ab", "ab>", "<de", "def", "ef>", "<def", "def>"]  # without <ab> and <def>, the whole
    assert ngrams(["ab", "def"], 4) == [*map(crc, ["ab", "def", "ab def"]), *sorted_as(inside)]
    assert ngrams([], 5) == []


def sorted_as(runs):
    """In the order of the words, and then of the lengths."""
    return [crc(run) for word in (runs[:2], runs[2:]) for run in sorted(word, key=len)]


def test_another_process_finds_the_same_buckets():
    code = "from dltrain.data.texts.cut import *; print(in_buckets(ngrams(['ein', 'wört'], 5), 97))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(in_buckets(ngrams(["ein", "wört"], 5), 97))
    assert all(1 <= number <= 97 for number in in_buckets(range(1000), 97))
