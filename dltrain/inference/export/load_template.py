"""Uses the exported model in this folder: `import load; model = load.load()`. Needs jax, flatbuffers and numpy.

    model.predict([{"rooms": 3, "city": "Rome"}])  # rows of a table: a list of dicts, columns by name, a data frame
    model({"image": pixels})                       # arrays [N, ...] by the names of the inputs in signature.json
    model.check()                                  # the examples in examples.npz again; also: python load.py

Both return a dict of NumPy arrays by the names of the outputs. `load(runtime="onnx")` runs model.onnx in
onnxruntime instead, without jax. Images must be decoded and texts of subwords cut into tokens before.

The file is long because it is complete by itself: nothing of dltrain is imported.
"""

import datetime
import hashlib
import json
import math
import pathlib
import re
import unicodedata
import warnings
import zlib

import numpy as np

SIGNATURE, STABLEHLO, ONNX, EXAMPLES = "signature.json", "model.stablehlo", "model.onnx", "examples.npz"
LARGEST = float(np.finfo(np.float32).max)
MISSING_LEVEL = "(missing)"
WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DATE_PARTS = {
    "%Y": r"(?P<year>[+-]?\d{1,4})",
    "%y": r"(?P<short>\d{2})",
    "%m": r"(?P<month>\d{1,2})",
    "%b": r"(?P<name>[A-Za-z]{3})",
    "%B": r"(?P<name>[A-Za-z]+)",
    "%d": r"(?P<day>\d{1,2})",
    "%H": r"(?P<hour>\d{1,2})",
    "%M": r"(?P<minute>\d{1,2})",
    "%S": r"(?P<second>\d{1,2})",
    "%.f": r"(?:\.\d+)?",
    "%#z": r"\s*(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2})?)",
    " ": r"\s*",
}


def load(folder=None, *, runtime="jax"):
    """Load the model of a folder, by default of the one that this file is in.

    Args:
        folder: the exported folder.
        runtime: jax, or onnx for model.onnx in onnxruntime.

    Raises:
        ValueError: a file is missing or damaged, or this jax cannot read the export.
    """
    folder = pathlib.Path(__file__).resolve().parent if folder is None else pathlib.Path(folder)
    signature = json.loads((folder / SIGNATURE).read_text(encoding="utf-8"))
    return Model(folder, signature, runtime)


class Model:
    """An exported model: call it with arrays, or `predict` with rows of a table.

    Attributes:
        signature: the content of signature.json.
    """

    def __init__(self, folder, signature, runtime="jax"):
        """Read and check the file of the model."""
        self.folder, self.signature = pathlib.Path(folder), signature
        name = {"jax": STABLEHLO, "onnx": ONNX}[runtime]
        content = _content(self.folder, name, signature)
        self._run = _with_jax(content, signature) if runtime == "jax" else _with_onnx(content)

    def __call__(self, inputs):
        """Return the outputs for arrays [N, ...]: a dict of them by the names of the inputs, or the only one."""
        return self._run(prepare(self.signature, inputs))

    def encode(self, records):
        """Return the arrays of rows of a table, or of texts: input name -> [N, ...]."""
        return encode(self.signature, records)

    def predict(self, records):
        """Return the outputs for rows of a table, or for texts."""
        return self(self.encode(records))

    def check(self):
        """Compare with the outputs in examples.npz; return the number of examples and the largest difference.

        Raises:
            ValueError: there are no examples, or an output differs.
        """
        if not (self.folder / EXAMPLES).is_file():
            raise ValueError(f"{self.folder / EXAMPLES} is missing: it was exported with keep_examples=false")
        with np.load(self.folder / EXAMPLES, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        inputs = {name: arrays["inputs." + name] for name in self.signature["inputs"]}
        if "rows" in arrays:
            for name, array in self.encode(json.loads(bytes(arrays["rows"]).decode())).items():
                array = prepare_one(self.signature, name, array)
                if name in inputs and not np.array_equal(array, inputs[name]):
                    raise ValueError(f"{name}: the rows in {EXAMPLES} are not encoded as dltrain encoded them")
        outputs, largest = self(inputs), 0.0
        for name, found in outputs.items():
            expected = arrays["outputs." + name]
            largest = max(largest, difference(name, expected, found))
        if largest > self.signature["tolerance"]:
            most = self.signature["tolerance"]
            raise ValueError(f"the outputs differ by {largest:.2g}; at most {most:g} was expected")
        return len(next(iter(outputs.values()))), largest


def difference(name, expected, found):
    """Return the largest difference of an output: relative to its value, or the mean size of its column.

    Probabilities are compared as they are. Whole numbers (classes) count as 0 or infinity.
    """
    if expected.shape != found.shape:
        return math.inf
    if expected.dtype.kind not in "fc":
        return 0.0 if np.array_equal(expected, found) else math.inf
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    if name.startswith("probabilit"):
        scale = 1.0
    else:
        axes = tuple(range(expected.ndim - 1)) if expected.ndim > 1 else 0
        means = np.mean(np.abs(np.where(np.isfinite(expected), expected, 0)), axis=axes, keepdims=True)
        scale = np.maximum(np.maximum(np.abs(expected), means), np.finfo(np.float32).tiny)
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.where(same, 0.0, np.abs(found - expected) / scale)
    return float(np.max(np.where(np.isnan(off), math.inf, off), initial=0.0))


def _content(folder, name, signature):
    if name not in signature["files"]:
        raise ValueError(f"{folder}: the export has no {name}; it has {', '.join(signature['files'])}")
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != signature["files"][name]["sha256"]:
        raise ValueError(f"{folder / name} is damaged: its SHA-256 is not the one in {SIGNATURE}")
    return content


def _with_jax(content, signature):
    import jax
    from jax import export

    until, written = signature["readable_until"], signature["versions"]["jax"]
    advice = (
        f"it was written by jax {written}, and newer versions read it until {until}; "
        "write it again: dltrain export FOLDER refresh=true"
    )
    if datetime.date.today().isoformat() > until and jax.__version__ != written:
        warnings.warn(f"{STABLEHLO} may not be read by jax {jax.__version__}: {advice}", stacklevel=3)
    try:
        program = jax.jit(export.deserialize(bytearray(content)).call)
    except Exception as error:
        raise ValueError(f"{STABLEHLO} cannot be read by jax {jax.__version__} ({error}): {advice}") from error
    return lambda inputs: {name: np.asarray(array) for name, array in program(inputs).items()}


def _with_onnx(content):
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    taken = {given.name for given in session.get_inputs()}  # an input that nothing depends on is left out

    def run(inputs):
        given = {name: array for name, array in inputs.items() if name in taken}
        return dict(zip(names, session.run(names, given), strict=True))

    return run


def prepare(signature, inputs):
    """Return the arrays as the compiled model takes them, checked; ValueError says what is wrong."""
    known = signature["inputs"]
    if not isinstance(inputs, dict):
        if len(known) > 1:
            raise ValueError(f"inputs: expected a dict with {', '.join(known)}, found {type(inputs).__name__}")
        inputs = {next(iter(known)): inputs}
    for name in inputs:
        if name not in known:
            raise ValueError(f"inputs: {name} is not known; the inputs are {', '.join(known)}")
    if missing := [name for name in known if name not in inputs]:
        raise ValueError(f"inputs: {', '.join(missing)} is missing; give a dict with {', '.join(known)}")
    found = {name: prepare_one(signature, name, inputs[name]) for name in known}
    counts = {name: len(array) for name, array in found.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"inputs: differ in the number of examples: {counts}")
    return found


def prepare_one(signature, name, values):
    """Return one input as the compiled model takes it."""
    about, array = signature["inputs"][name], np.asarray(values)
    for step in signature["host"].get(name, ()):
        if step["kind"] == "offset" and array.dtype != np.float32:  # float32: it has been subtracted already
            array = (array.astype(np.float64) - np.asarray(step["offset"])).astype(np.float32)
    shape, dtype = about["shape"][1:], np.dtype(about["dtype"])
    expected = f"expected {dtype} [N{''.join(f', {n}' for n in shape)}]"
    if array.ndim == 0 or list(array.shape[1:]) != shape or not len(array):
        raise ValueError(f"inputs: {name}: {expected}, found {array.dtype} {list(array.shape)}")
    if array.dtype == dtype:
        return array
    whole = array.dtype.kind in "iu" and dtype.kind in "iu"
    if whole and np.array_equal(array, array.astype(dtype)):
        return array.astype(dtype)
    if dtype.kind != "f" or array.dtype.kind not in "fiub":
        raise ValueError(f"inputs: {name}: {expected}, found {array.dtype} {list(array.shape)}")
    return array.astype(dtype)


def encodes(signature):
    """Tell whether `encode` knows this model: tables and texts, but not images or subwords."""
    encoder = signature["encoder"]
    return bool(encoder) and (encoder["kind"] != "texts" or encoder["fitted"]["texts"]["tokens"] != "subwords")


def encode(signature, records):
    """Return the arrays of records as people have them, by the names of the inputs.

    Raises:
        ValueError: a column is missing, a value cannot be read, or this model takes arrays only.
    """
    if not encodes(signature):
        raise ValueError(f"this model takes arrays: a dict with {', '.join(signature['inputs'])}; see {SIGNATURE}")
    encoder = signature["encoder"]
    fitted, kind = encoder["fitted"], encoder["kind"]
    if kind == "table":
        return _table(fitted, encoder["inputs"], records)
    if kind == "numbers":
        columns = _columns(records, fitted["names"])
        rows = [[_finite(v, n, i) for i, v in enumerate(columns[n])] for n in fitted["names"]]
        return {encoder["inputs"]["numbers"]: np.array(rows, np.float64).T.astype(fitted["dtype"])}
    listed = isinstance(records, (list, tuple)) and not isinstance((*records, None)[0], dict)
    texts = list(records) if listed else _columns(records, [fitted["column"]])[fitted["column"]]
    return _texts(fitted["texts"], texts)


def _columns(records, names):
    """Return the columns of these names, each a list of plain values, None for a missing one."""
    if isinstance(records, (list, tuple)) and records and all(isinstance(one, dict) for one in records):
        there = dict.fromkeys(name for one in records for name in one)
        found = {name: [one.get(name) for one in records] for name in names if name in there}
    elif isinstance(records, dict):
        plain = any(hasattr(values, "__len__") and not isinstance(values, str) for values in records.values())
        records = records if plain else {name: [value] for name, value in records.items()}
        there, found = list(records), {name: records[name] for name in names if name in records}
    elif hasattr(records, "columns"):
        there = list(map(str, records.columns))
        found = {name: records[name] for name in names if name in there}
    else:
        raise ValueError(f"inputs: expected rows of a table or columns by name, found {type(records).__name__}")
    if lost := [name for name in names if name not in found]:
        raise ValueError(f"inputs: the column {lost[0]} is missing; there are {', '.join(map(str, there))}")
    return {name: [_plain(value) for value in _listed(values)] for name, values in found.items()}


def _listed(values):
    if str(getattr(values, "dtype", "")).startswith("datetime64"):
        return np.asarray(values).astype("datetime64[us]").tolist()
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _plain(value):
    if isinstance(value, np.generic):
        value = value.astype("datetime64[us]").item() if isinstance(value, np.datetime64) else value.item()
    lost = value is None or type(value).__name__ in ("NAType", "NaTType")
    return None if lost or (isinstance(value, float) and value != value) else value


def _table(fitted, inputs, records):
    """Return the inputs of rows: numbers without gaps, numbers of levels, and n-grams of texts."""
    marks = set(fitted["missing"])
    values = [float(mark) for mark in marks if _as_float(mark) is not None]
    names = [*fitted["numbers"], *fitted["dates"], *fitted["categories"], *fitted["texts"]]
    images = {column: records[inputs[column]] for column in fitted["images"] if _has(records, inputs[column])}
    flagged = [column for column, image in fitted["images"].items() if image["indicator"]]
    columns = _columns(records, [*names, *flagged])
    columns = {name: [None if _is_mark(v, marks, values) else v for v in found] for name, found in columns.items()}
    numbers, flags, found = [], [], {}
    for name, about in fitted["numbers"].items():
        column = [_number(value, about["sign"], name, i) for i, value in enumerate(columns[name])]
        numbers.append([about["median"] if value is None else value for value in column])
        flags += [[value is None for value in column]] if about["indicator"] else []
    for name, about in fitted["dates"].items():
        column = [_date(value, about["format"] or "%Y-%m-%d", name, i) for i, value in enumerate(columns[name])]
        for part, median in about["parts"].items():
            numbers.append([median if value is None else _part(value, part) for value in column])
        flags += [[value is None for value in column]] if about["indicator"] else []
    flags += [[value is None for value in columns[name]] for name in flagged]
    if numbers or flags:
        found[inputs["numbers"]] = np.array([*numbers, *flags], np.float64).T.astype(fitted["dtype"])
    if fitted["categories"]:
        kinds = fitted["kinds"]
        coded = [_codes(columns[name], levels, kinds.get(name)) for name, levels in fitted["categories"].items()]
        found[inputs["categories"]] = np.array(coded, np.int32).T
    for name, about in fitted["texts"].items():
        texts = [None if value is None else _level(value) for value in columns[name]]
        found[inputs[name]] = _ngrams(about, texts)
    return {**found, **{inputs[column]: np.asarray(pixels) for column, pixels in images.items()}}


def _has(records, name):
    return isinstance(records, dict) and name in records


def _is_mark(value, marks, numbers):
    if isinstance(value, str):
        return value in marks
    return isinstance(value, (int, float)) and not isinstance(value, bool) and float(value) in numbers


def _as_float(text):
    """Return a number written with a decimal point; None if it is none."""
    if not text.isascii() or "_" in text or text != text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _read_number(text, sign):
    """Return the number that a text stands for; `sign` says what a comma means. None if it is none."""
    text = text.strip()
    if sign == ",":
        return _as_float(re.sub(r"^([^.,]*),", r"\1.", text))
    found = _as_float(text)
    if found is None and sign == "1,000" and re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", text):
        return _as_float(text.replace(",", ""))
    return found


def _number(value, sign, column, row):
    """Return a number, None where it is missing or not finite."""
    if value is None:
        return None
    found = _read_number(value, sign) if isinstance(value, str) else value
    if found is None or not isinstance(found, (int, float)):
        raise ValueError(f"inputs: column {column}, index {row}: found {value!r}, expected a number")
    found = float(found)
    return found if math.isfinite(found) and abs(found) <= LARGEST else None


def _finite(value, column, row):
    found = _number(value, "", column, row)
    if found is None:
        raise ValueError(f"inputs: column {column}, index {row}: no value; expected a number")
    return found


def _date(value, format, column, row):
    """Return a date as a datetime without a zone, None where it is missing."""
    found = value
    if isinstance(value, str):
        found = _read_date(value.strip(), format)
    elif isinstance(value, datetime.datetime):
        found = value.astimezone(datetime.UTC).replace(tzinfo=None) if value.tzinfo else value
    elif isinstance(value, datetime.date):
        found = datetime.datetime(value.year, value.month, value.day)
    if value is not None and not isinstance(found, datetime.datetime):
        raise ValueError(f"inputs: column {column}, index {row}: found {value!r}, expected a date as {format}")
    return found


def _read_date(text, format):
    parts = re.split(r"(%\.f|%#z|%[A-Za-z]| )", format)
    match = re.fullmatch("".join(DATE_PARTS.get(part, re.escape(part)) for part in parts), text)
    if match is None:
        return None
    found = {name: value for name, value in match.groupdict().items() if value is not None}
    year = (
        int(found["year"]) if "year" in found else int(found["short"]) + (2000 if found["short"] < "70" else 1900)
    )
    month = found.get("month") or _month(found.get("name", ""))
    hour, minute, second = (int(found.get(name, 0)) for name in ("hour", "minute", "second"))
    try:
        date = datetime.datetime(year, int(month), int(found.get("day", 1)), hour, minute, second)
    except ValueError:
        return None
    zone = found.get("zone", "Z")
    if zone in "Zz":
        return date
    digits = zone[1:].replace(":", "").ljust(4, "0")
    ahead = datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return date - ahead if zone[0] == "+" else date + ahead


def _month(name):
    return MONTHS.index(name[:3].lower()) + 1 if name[:3].lower() in MONTHS else 0


def _part(date, part):
    return float(date.isoweekday() if part == "weekday" else getattr(date, part))


def _level(value):
    """Return a value as the text of its level: whole numbers without a decimal point."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        whole = value == round(value) and abs(value) < 2**53 if math.isfinite(value) else False
        return str(int(value)) if whole else re.sub(r"e([+-])0?", lambda m: "e" + m[1].strip("+"), repr(value))
    return str(value)


def _codes(values, levels, kind):
    """Return the number of each value's level, 0 for one that was not seen."""
    numbers, found = {level: i + 1 for i, level in enumerate(levels)}, []
    for value in values:
        text = MISSING_LEVEL if value is None else _level(value)
        if kind and isinstance(value, str):
            text = _as_kind(value.strip(), *kind)
            text = value if text is None else text  # what does not fit is not a level
        found.append(numbers.get(text, 0))
    return found


def _as_kind(text, kind, detail):
    """Return the level of a text that stood for a number or a truth value in training; None if it does not."""
    if kind == "flag":
        return text.lower() if text.lower() in ("true", "false") else None
    found = _read_number(text, detail) if kind == "number" else None
    return None if found is None else _level(found)


def _texts(fitted, texts):
    """Return tokens with their lengths, or n-grams."""
    for i, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise ValueError(f"inputs: example {i} is {text!r}, expected a text")
    if fitted["tokens"] == "ngrams":
        return {"ngrams": _ngrams(fitted, texts)}
    numbers = {token: i for i, token in enumerate(fitted["vocabulary"])}
    found = np.zeros((len(texts), fitted["length"]), np.int32)
    lengths = np.ones(len(texts), np.int32)
    for i, text in enumerate(texts):
        row = [numbers.get(token, 3) for token in _cut(fitted, text)] or [3]  # 3 is the unknown token
        found[i, : len(row)], lengths[i] = row, len(row)
    return {"tokens": found, "length": lengths}


def _cut(fitted, text):
    text = unicodedata.normalize("NFC", text or "")
    text = text.lower() if fitted["lowercase"] else text
    return (list(text) if fitted["tokens"] == "characters" else WORD.findall(text))[: fitted["length"]]


def _ngrams(fitted, texts):
    """Return the buckets of the CRC-32 of words, pairs of words and characters in words, [N, width]."""
    found = np.zeros((len(texts), fitted["width"]), np.int32)
    for i, text in enumerate(texts):
        words = _cut(fitted, text)
        encoded = [word.encode("utf-8", "surrogatepass") for word in words]
        hashes = [zlib.crc32(word) for word in encoded]
        hashes += [zlib.crc32(b" " + after, value) for value, after in zip(hashes, encoded[1:], strict=False)]
        if fitted["character_ngrams"]:
            hashes += [value for word in words for value in _inside(f"<{word}>", fitted["character_ngrams"])]
        row = [1 + value % fitted["buckets"] for value in hashes[: fitted["width"]]]
        found[i, : len(row)] = row
    return found


def _inside(whole, longest):
    runs = (whole[i : i + n] for n in range(3, longest + 1) for i in range(len(whole) - n + 1))
    return [zlib.crc32(run.encode("utf-8", "surrogatepass")) for run in runs if run != whole]


if __name__ == "__main__":
    import sys

    count, largest = load(runtime=sys.argv[1] if len(sys.argv) > 1 else "jax").check()
    print(f"{count} examples: largest difference {largest:.1e}, decisions equal")
