"""The line of a user's own code that led to an error, for its message."""

import traceback
from collections.abc import Collection, Iterator


def raised_in(error: BaseException, packages: Collection[str]) -> str:
    """Return `FILE, line N` of the innermost line in one of these packages that led to an error, or ""."""
    found = ""
    for one in _chain(error):
        if isinstance(one, SyntaxError) and one.filename and not one.filename.startswith("<"):
            return f"{one.filename}, line {one.lineno}"
        for frame, line in traceback.walk_tb(one.__traceback__):
            module = frame.f_globals.get("__name__", "")
            if any(module == package or module.startswith(f"{package}.") for package in packages):
                found = f"{frame.f_code.co_filename}, line {line}"
    return found


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Go through an error and those that caused it."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__
