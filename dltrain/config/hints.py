"""Suggestions (did you mean ...?) for mistyped words."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from dltrain.config.synonyms import CHOICES, KEYS

REFUSED = {
    ("loss", "zero_one"): "the gradient of a count of errors is zero almost everywhere, so nothing would be "
    "learned; train with loss=cross_entropy or loss=hinge and measure it with metrics=[auto,zero_one]",
}
"""(group, choice) -> why this choice does not exist, where users might look for it."""

READS = (
    "dltrain reads its own data sets (dltrain list data) and yours: a table of any format (data=table "
    "data.path=FILE data.target=COLUMN), a folder of images (data=images data.path=FOLDER), time series "
    "(data=series), a text (data=characters data.path=FILE), pairs of texts (data=pairs data.path=FILE), sequences "
    "of numbers or tokens (data=sequences data.path=FILE.npz). For anything else write a source, a function of a "
    'few lines: "A data source" in docs/extending.md'
)
TABLES = "data=table data.path={} data.target=COLUMN reads a table"
OWN = {
    TABLES: "csv tsv tab table tables tabular dataframe pandas polars excel xls xlsx parquet pq json jsonl ndjson "
    "arrow feather ipc",
    "data=images data.path={} reads a folder with a folder of images for each class": "images image image_folder "
    "imagefolder folder directory png jpg jpeg webp bmp",
}
"""What one may type after data=, or the end of a file's name -> what reads such files."""
FILES = frozenset("sql hdf5 h5 file files own custom mine hf huggingface torchvision".split())
"""What one may type after data= to read other files of one's own."""

ALIKE = 0.65  # share of letters that a word and what it may mean have in common, in the same order
TIED = 0.1  # another one is named too if it is nearly as close


def nearest(
    word: str, words: Iterable[str], *, prefix: str = "", names: Mapping[str, tuple[str, ...]] | None = None
) -> str:
    """Return `; did you mean prefix.x?` for the words closest to `word`, or nothing if none is close.

    `names` has what other tools call these words.
    """
    words = list(words)
    meant = [ours for ours in (names or {}).get(_plain(word), ()) if ours in words][:1] or close(word, words)
    dotted = [f"{prefix}.{c}" if prefix else c for c in meant]
    return f"; did you mean {' or '.join(dotted)}?" if dotted else ""


def close(word: str, words: Iterable[str], *, cutoff: float = ALIKE) -> list[str]:
    """Return at most two of `words` that look like `word`, capitals and dashes aside, the closest first."""
    plain = {_plain(w): w for w in reversed(list(words))}
    if _plain(word) in plain:
        return [plain[_plain(word)]]
    found = difflib.get_close_matches(_plain(word), plain, n=2, cutoff=cutoff)
    ratios = [difflib.SequenceMatcher(None, f, _plain(word)).ratio() for f in found]
    return [plain[f] for f, ratio in zip(found, ratios, strict=True) if ratio > ratios[0] - TIED]


def no_choice(group: str, word: str, choices: Iterable[str], others: Mapping[str, Iterable[str]]) -> str:
    """Say that a group has no such choice, and what would be right.

    Args:
        group: the group.
        word: what was typed.
        choices: of the group.
        others: group -> choices, of all groups.
    """
    choices = list(choices)
    if (group, word) in REFUSED:
        return f"{group}={word}: {REFUSED[group, word]}"
    if group == "data" and (_plain(word) in FILES or reader(word) or is_file(word)):
        return f"data={word}: no such data set; {reader(word) or READS}"
    near = nearest(word.removesuffix(".yaml"), choices, names=CHOICES.get(group))
    elsewhere = [other for other, names in others.items() if other != group and word in names]
    if not near and elsewhere:
        near = f"; did you mean {elsewhere[0]}={word}?"
    return f"{group}={word}: no such choice{near} (choices: {', '.join(choices)})"


def reader(word: str) -> str:
    """Say what reads a file of this name, or files of this kind; nothing if that is not known."""
    kind = _plain(word.removesuffix(".gz").removesuffix(".xz").rpartition(".")[2])
    place = word if is_file(word) else "FILE" if kind in OWN[TABLES].split() else "FOLDER"
    return next((how.format(place) for how, kinds in OWN.items() if kind in kinds.split()), "")


def is_file(word: str) -> bool:
    """Say whether a word looks like a path to a file of data."""
    yaml = word.endswith((".yaml", ".yml"))
    return not yaml and bool(re.search(r"\w\.[A-Za-z][A-Za-z0-9]{1,6}(\.gz)?$|/", word))


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")


def unknown(key: str, known: Mapping[str, Any], *, value: str = "") -> str:
    """Say that a key is unknown, and which known ones may be meant, with their values; `value` is that typed."""
    if _names_file(key) and not {"data.path", "data.root"} & set(known):
        file = reader(value) if value and is_file(value) else ""
        return f"{key}: unknown; data={show(known.get('data'))} takes no file; {file or READS}"
    meant = nearest_keys(key, known)
    if meant:
        return f"{key}: unknown; did you mean {' or '.join(f'{m} (now {show(known[m])})' for m in meant)}?"
    parent = key.rpartition(".")[0]
    inside = [k for k in known if parent and k.startswith(parent + ".") and "." not in k[len(parent) + 1 :]]
    return (
        f"{key}: unknown; {parent} has {', '.join(inside)}"
        if inside
        else f"{key}: unknown; see dltrain train --help"
    )


def _names_file(key: str) -> bool:
    group, dot, last = key.partition(".")
    word = last if dot and group == "data" else "" if dot else group
    return "data.path" in KEYS.get(_plain(word), ()) or (bool(dot) and word in ("path", "root"))


def nearest_keys(key: str, known: Mapping[str, Any]) -> list[str]:
    """Return the known keys that a wrong key most likely means."""
    parent, _, last = key.rpartition(".")
    word = _plain(last)
    ours = [name for name in (*KEYS.get(key.lower(), ()), *KEYS.get(word, ())) if name in known and name != key]
    if ours:  # that of the node itself first
        return sorted(ours, key=lambda name: name.partition(".")[0] != parent.partition(".")[0])[:1]
    same = [k for k in known if k.rpartition(".")[2] == word and k != key]
    if same:
        return sorted(same, key=lambda k: -difflib.SequenceMatcher(None, k, key).ratio())[:2]
    siblings = {k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == parent}
    if found := close(last, siblings):
        return [siblings[f] for f in found]
    whole = {
        k for k in known if not (key.startswith(k + ".") and any(other.startswith(k + ".") for other in known))
    }
    if found := close(key, whole, cutoff=0.7):
        return found
    lasts = {k.rpartition(".")[2]: k for k in known}
    return [lasts[f] for f in close(last, lasts, cutoff=0.7)]


def show(value: Any) -> str:
    """Format a value as it would be typed, truncated if it is long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        text = f"[{', '.join(show(v) for v in value)}]"
    elif isinstance(value, Mapping):
        text = f"{{{', '.join(f'{k}: {show(v)}' for k, v in value.items())}}}"
    else:
        text = getattr(value, "__name__", str(value))
    return text if len(text) <= 60 else text[:57] + "..."
