"""The look of dltrain's figures, which does not depend on the user's own settings of matplotlib."""

import contextlib
from collections.abc import Generator


@contextlib.contextmanager
def default_style() -> Generator[None]:
    """Draw and render with matplotlib's defaults: a matplotlibrc with `text.usetex`, for one, needs LaTeX."""
    import matplotlib.style

    with matplotlib.style.context("default", after_reset=True):
        yield
