"""Ranges of the arguments of library functions, which have no annotations of ours, by the names of the arguments.

An argument that is not listed here is checked by the library alone.
"""

from typing import Any

from dltrain.ranges import BelowOne, Finite, NonNegative, Positive, Probability, Size

LIBRARIES = ("optax", "flax.nnx", "jax.nn")
"""The libraries whose functions and classes a config may name."""

_OPTAX: dict[str, Any] = {
    "learning_rate": Positive,
    "weight_decay": NonNegative,
    "weight_decay_rate": NonNegative,
    "momentum": BelowOne,
    "b1": BelowOne,
    "b2": BelowOne,
    "b3": BelowOne,
    "beta": BelowOne,
    "rho": BelowOne,
    "decay": BelowOne,
    "decay_rate": BelowOne,
    "eps": NonNegative,
    "eps_root": NonNegative,
    "initial_scale": NonNegative,
    "initial_accumulator_value": NonNegative,
    "min_dim_size_to_factor": Size,
    "clipping_threshold": Positive,
    "threshold": Positive,
    "trust_coefficient": Positive,
    "memory_size": Size,
    "max_learning_rate": Positive,
    "f_min": Finite,
    "ns_steps": Size,
    "dampening": Probability,
}
_FUNCTIONS: dict[str, Any] = {
    "negative_slope": Finite,
    "alpha": NonNegative,
    "stddev": NonNegative,
    "scale": NonNegative,
    "rate": BelowOne,
    "dropout_rate": BelowOne,
    "epsilon": NonNegative,
    "momentum": BelowOne,
    "in_features": Size,
    "out_features": Size,
    "features": Size,
    "num_features": Size,
    "num_heads": Size,
    "num_embeddings": Size,
    "num_groups": Size,
}
_RANGES = {"optax": _OPTAX, "flax": _FUNCTIONS, "jax": _FUNCTIONS}


def range_of(module: str, argument: str) -> Any:
    """Return the annotation of an argument of a function that a library module defines, or None."""
    return _RANGES.get(module.partition(".")[0], {}).get(argument)
