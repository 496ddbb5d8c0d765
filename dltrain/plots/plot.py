"""A figure as a value: what draws it, and from what. Any process can draw it; only that imports matplotlib."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Plot:
    """A figure that is yet to be drawn.

    Attributes:
        function: draws it: MODULE.NAME in `dltrain.plots`, or a function of the user.
        given: the arguments of the function.
        options: its keyword arguments.
        caption: the line below the figure.
    """

    function: str | Callable[..., Any]
    given: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    caption: str = ""

    @property
    def portable(self) -> bool:
        """Whether another process can draw it: a user's function may be unknown there."""
        return isinstance(self.function, str)

    def with_caption(self, text: str) -> "Plot":
        """Return the same figure with this line below it."""
        return replace(self, caption=text)

    def draw(self) -> Any:
        """Draw the matplotlib figure."""
        from dltrain.plots.caption import add_caption

        function = self.function
        if isinstance(function, str):
            module, name = function.split(".")
            function = getattr(importlib.import_module(f"dltrain.plots.{module}"), name)
        figure = function(*self.given, **self.options)
        return add_caption(figure, self.caption) if self.caption else figure


def plot(function: str | Callable[..., Any], *given: Any, **options: Any) -> Plot:
    """Return a figure that `function` draws from these arguments: MODULE.NAME in `dltrain.plots`, or the user's."""
    return Plot(function, given, options)


def pngs_of(plots: Mapping[str, Plot]) -> dict[str, bytes]:
    """Draw figures as PNG in this process, in dltrain's style: name -> bytes."""
    from dltrain.plots.png import png_bytes
    from dltrain.plots.style import default_style

    with default_style():
        return {name: png_bytes(some.draw()) for name, some in plots.items()}
