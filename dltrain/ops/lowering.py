"""Which form the operations of this package take in what is traced from now on."""

import contextlib
from collections.abc import Generator

_stock = False


def use(*, stock: bool) -> None:
    """Take jax's own forms everywhere, or those that were measured to be faster on the platform."""
    global _stock
    _stock = stock


@contextlib.contextmanager
def stock() -> Generator[None]:
    """Take jax's own forms for what is traced inside."""
    before = _stock
    use(stock=True)
    try:
        yield
    finally:
        use(stock=before)


def is_stock() -> bool:
    """Tell whether jax's own forms are wanted."""
    return _stock
