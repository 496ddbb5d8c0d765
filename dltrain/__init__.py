"""dltrain: train a network on your own data from a shell or from Python, with JAX and Hydra YAML.

`dltrain.compose`, `dltrain.fit` and `dltrain.open_run` take the same words as the command `dltrain`.
"""

from typing import Any

__version__ = "0.1.0"
_LAZY = (
    "compare",
    "compose",
    "crossval",
    "fit",
    "load_exported",
    "open_ensemble",
    "open_run",
    "seeds",
    "write_report",
)


def __getattr__(name: str) -> Any:
    """Import `dltrain.api` at its first use, since importing jax takes a second."""
    if name not in _LAZY:
        raise AttributeError(f"module 'dltrain' has no attribute {name!r}")
    from dltrain import api

    return getattr(api, name)


def __dir__() -> list[str]:
    """List what can be imported."""
    return sorted([*globals(), *_LAZY])
