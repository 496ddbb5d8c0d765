"""Numbers of a model that are traced values: a placeholder marks where each belongs."""

import contextlib
from collections.abc import Generator, Mapping

from flax import nnx

from dltrain.types import Array


class Placeholder(float):
    """A number of a model that is replaced while the model computes."""

    name: str

    def __new__(cls, value: float, name: str) -> "Placeholder":
        """Return a number that knows its key in the config."""
        made = super().__new__(cls, value)
        made.name = name
        return made


@contextlib.contextmanager
def filled(model: nnx.Module, numbers: Mapping[str, Array]) -> Generator[None]:
    """Put the numbers in the place of their placeholders, which come back afterwards.

    Raises:
        TypeError: a number has no placeholder: the model has computed with it while it was built.
    """
    places = []
    for _, module in nnx.iter_modules(model) if numbers else ():
        places += [(vars(module), key, held) for key, held in vars(module).items() if isinstance(held, Placeholder)]
    if lost := numbers.keys() - {held.name for _, _, held in places}:
        raise TypeError(f"{', '.join(sorted(lost))}: no layer of the model holds it")
    for attributes, key, held in places:  # past nnx, which would take an array for a leaf of the model
        attributes[key] = numbers[held.name]
    try:
        yield
    finally:
        for attributes, key, held in places:
            attributes[key] = held
