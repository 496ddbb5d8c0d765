"""Ranges of the arguments of library functions, which have no annotations of ours, by the names of the arguments.

An argument that is not listed here is checked by the library alone.
"""

from typing import Annotated, Any

from dltrain.ranges import BelowOne, Finite, NonNegative, Positive, Probability, Range, Size, Traced

LIBRARIES = ("optax", "flax.nnx", "jax.nn")
"""The libraries whose functions and classes a config may name."""

_OPTAX: dict[str, Any] = {
    "learning_rate": Positive,
    "weight_decay": NonNegative,
    "weight_decay_rate": Traced[NonNegative],
    "momentum": Traced[BelowOne],
    "b1": Traced[BelowOne],
    "b2": Traced[BelowOne],
    "b3": Traced[BelowOne],
    "beta": Traced[BelowOne],
    "rho": Traced[BelowOne],
    "decay": Traced[BelowOne],
    "decay_rate": Traced[BelowOne],
    "eps": Traced[NonNegative],
    "eps_root": Traced[NonNegative],
    "initial_scale": Traced[NonNegative],
    "initial_accumulator_value": Traced[NonNegative],
    "min_dim_size_to_factor": Size,
    "clipping_threshold": Traced[Positive],
    "threshold": Traced[Annotated[float, Range(low=4)]],  # of radam: below, it takes roots of negative numbers
    "trust_coefficient": Traced[Positive],
    "memory_size": Size,
    "max_learning_rate": Positive,
    "f_min": Traced[Finite],
    "ns_steps": Size,
    "dampening": Traced[Probability],
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
