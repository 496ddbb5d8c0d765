"""Parametrize a test with cases of one kind, of which a few run by default and the others with `-m slow`."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def few(names: str | tuple[str, ...], cases: Iterable, default: int | Collection = 1, **options: Any) -> Any:
    """Return `pytest.mark.parametrize(names, cases)` that marks cases as slow; ids stay as they are.

    Args:
        names: Of the parameters, as for `parametrize`.
        cases: Of one kind, so that a few of them represent the others.
        default: How many run by default, from the first on; or which, as they are written in `cases`.
        options: For `parametrize`.
    """
    several = not isinstance(names, str) or "," in names
    found = []
    for i, case in enumerate(cases):
        kept = i < default if isinstance(default, int) else case in default
        marked = isinstance(case, type(pytest.param()))
        values, marks, name = (case.values, case.marks, case.id) if marked else (None, (), None)
        if values is None:
            values = case if several else (case,)
        found.append(pytest.param(*values, marks=marks if kept else (*marks, pytest.mark.slow), id=name))
    return pytest.mark.parametrize(names, found, **options)
