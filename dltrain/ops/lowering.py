"""A switch between the lowerings of this package and those of jax, for code traced from now on."""

import contextlib
from collections.abc import Generator

from dltrain.ops import divided

_stock = False


def use(*, stock: bool) -> None:
    """Use the lowerings of jax everywhere (stock=True), or those of this package where they are faster."""
    global _stock
    _stock = stock


@contextlib.contextmanager
def stock() -> Generator[None]:
    """Use the lowerings of jax for code traced in this context."""
    before = _stock
    use(stock=True)
    try:
        yield
    finally:
        use(stock=before)


def is_stock() -> bool:
    """Tell whether the lowerings of jax are used, and they are if a mesh divides layers: XLA divides them well."""
    return _stock or divided.parts() > 1
