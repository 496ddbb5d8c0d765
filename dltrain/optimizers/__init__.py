"""Optimizers that optax lacks, or has with other arguments; the rest are a YAML with an optax `_target_`.

Each is called inside the trace with numbers that may be traced (`learning_rate` holds the schedule's factor
already), so nothing here branches on a number; they are annotated as what a YAML may hold.
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
