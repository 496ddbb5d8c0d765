"""Columns of a table as people know them, and the numbers of the inputs that each one became."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.data.preprocess import Offset
from dltrain.data.tables.encode import TableEncoder
from dltrain.inference.bundle import Bundle
from dltrain.types import Kind, Spec, by_name

TABLES = (Kind.NUMBERS, Kind.CATEGORIES)
DESCRIBING = (Kind.LENGTH, Kind.POSITION)


@dataclass(frozen=True)
class Column:
    """One column of the data.

    Attributes:
        name: as in the file.
        parts: the input and the place in it of everything that the column became: its number, the parts of its
            date, its level, and whether it is missing. A place of None is the whole input: a text, an image.
        names: what each part is, such as `sold month`; `price is missing` is an indicator.
        indicators: which parts say that a value is missing.
    """

    name: str
    parts: tuple[tuple[str, int | None], ...]
    names: tuple[str, ...]
    indicators: tuple[bool, ...]


def columns_of(bundle: Bundle) -> tuple[Column, ...]:
    """Return the columns of the model's inputs; an input that is not a table counts as one column."""
    spec = bundle.raw_spec
    if isinstance(bundle.encoder, TableEncoder) and set(bundle.encoder.features) == set(spec.inputs):
        return _of_encoder(bundle.encoder)
    found = []
    several = sum(feature.kind in TABLES for feature in spec.inputs.values()) > 1
    for name, feature in spec.inputs.items():
        if feature.kind in TABLES:
            names = feature.names or tuple(f"column {i}" for i in range(feature.shape[-1]))
            shown = [f"{name} {n}" for n in names] if several and not feature.names else names
            found += [Column(shown[i], ((name, i),), (shown[i],), (False,)) for i in range(len(shown))]
        elif feature.kind not in DESCRIBING:
            lengths = _described_by(spec) if feature.kind is Kind.TOKENS else ()
            parts = ((name, None), *((other, None) for other in lengths))
            found.append(Column(name, parts, (name,) * len(parts), (False,) * len(parts)))
    return tuple(found)


def _described_by(spec: Spec) -> Sequence[str]:
    return [name for name, feature in spec.inputs.items() if feature.kind is Kind.LENGTH]


def _of_encoder(encoder: TableEncoder) -> tuple[Column, ...]:
    """Follow the order in which the encoder lays out its inputs."""
    places: dict[str, list[tuple[tuple[str, int | None], str, bool]]] = {name: [] for name in encoder.columns}
    numbers: list[tuple[str, str, bool]] = [(name, name, False) for name in encoder.numbers]
    numbers += [(n, f"{n} {part}", False) for n, fitted in encoder.dates.items() for part in fitted["parts"]]
    fitted = {**encoder.numbers, **encoder.dates}
    numbers += [(n, f"{n} is missing", True) for n in fitted if fitted[n]["indicator"]]
    numbers += [(n, f"{n} is missing", True) for n, image in encoder.images.items() if image.indicator]
    for i, (column, name, flag) in enumerate(numbers):
        places[column].append((("numbers", i), name, flag))
    for i, column in enumerate(encoder.categories):
        places[column].append((("categories", i), column, False))
    for column in (*encoder.texts, *encoder.images):
        places[column].append(((encoder.input_of(column), None), column, False))
    return tuple(
        Column(name, *(tuple(part) for part in zip(*found, strict=True))) for name, found in places.items() if found
    )


def is_table(spec: Spec) -> bool:
    """Tell whether the inputs have columns of numbers or of categories."""
    return any(feature.kind in TABLES for feature in spec.inputs.values())


def with_rows(inputs: Any, column: Column, rows: np.ndarray, spec: Spec) -> Any:
    """Return inputs in which a column has the values that it has in other rows, int [N]."""
    named = dict(by_name(inputs, spec.inputs))
    for name, place in column.parts:
        if place is None:
            named[name] = named[name][rows]
        else:
            named[name] = named[name].copy()
            named[name][..., place] = named[name][rows, ..., place]
    return named if isinstance(inputs, Mapping) else next(iter(named.values()))


def with_value(inputs: Any, parts: Mapping[tuple[str, int], float], spec: Spec) -> Any:
    """Return inputs in which these places have one value in every row."""
    named = dict(by_name(inputs, spec.inputs))
    for (name, place), value in parts.items():
        named[name] = named[name].copy()
        named[name][..., place] = value
    return named if isinstance(inputs, Mapping) else next(iter(named.values()))


def offset_of(bundle: Bundle, name: str, place: int) -> float:
    """Return what the host has subtracted from a column of numbers, to show values in their own units."""
    chain = bundle.preprocess.inputs.get(name)
    steps = chain.steps if chain else ()
    return float(sum(step.offset[place] for step in steps if isinstance(step, Offset)))


def summed(attributions: Mapping[str, np.ndarray], columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """Return the attribution of each column, [N]: the sum over everything that it became."""
    count = len(next(iter(attributions.values())))
    found = {}
    for column in columns:
        parts = [(attributions[name], place) for name, place in column.parts if name in attributions]
        values = [part.reshape(count, -1) if place is None else part[:, place : place + 1] for part, place in parts]
        found[column.name] = np.concatenate(values, 1).sum(1) if values else np.zeros(count)
    return found


def shown_values(bundle: Bundle, inputs: Any, columns: Sequence[Column]) -> list[dict[str, str]]:
    """Return the values of each row as text, by column, for those that are one number or one level."""
    spec = bundle.array_spec
    named = by_name(inputs, spec.inputs)
    found: list[dict[str, str]] = [{} for _ in next(iter(named.values()))]
    for column in columns:
        whole = zip(column.parts, column.indicators, strict=True)
        values = [(name, place) for (name, place), flag in whole if not flag]
        flags = [part for part, flag in zip(column.parts, column.indicators, strict=True) if flag]
        name, place = values[0] if len(values) == 1 else ("", None)
        if place is None or named[name].ndim != 2:
            continue
        feature = spec.inputs[name]
        for row, text in enumerate(found):
            value = named[name][row, place]
            if any(named[flag][row, at] for flag, at in flags):
                text[column.name] = "missing"
            elif feature.kind is Kind.CATEGORIES:
                text[column.name] = level_name(feature.levels[place], int(value))
            else:
                text[column.name] = f"{float(value) + offset_of(bundle, name, place):.4g}"
    return found


def level_name(levels: Sequence[str], number: int) -> str:
    """Return the name of a level by its number; 0 is one that training did not have."""
    return levels[number - 1] if 0 < number <= len(levels) else "(unknown)"
