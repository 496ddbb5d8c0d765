"""Which form the operations of this package take in what is traced from now on."""

_stock = False


def use(*, stock: bool) -> None:
    """Take jax's own forms everywhere, or those that were measured to be faster on the platform."""
    global _stock
    _stock = stock


def is_stock() -> bool:
    """Tell whether jax's own forms are wanted."""
    return _stock
