"""Optimizers that optax does not have, or has with other arguments; the others are a YAML with an optax `_target_`.

Each is called inside the trace with numeric arguments that may be traced (`learning_rate` includes the factor of
the schedule), so nothing here branches on their values; the annotations are the types in the YAML.
"""

from dltrain.optimizers.curvature import lbfgs, newton
from dltrain.optimizers.gradient import MomentumForm, adam, gd, lars, momentum, muon, novograd, polyak, rmsprop
from dltrain.optimizers.points import sam, schedule_free

__all__ = [
    "MomentumForm",
    "adam",
    "gd",
    "lars",
    "lbfgs",
    "momentum",
    "muon",
    "newton",
    "novograd",
    "polyak",
    "rmsprop",
    "sam",
    "schedule_free",
]
