"""Preprocessing: a list of steps per feature, fitted on the training examples and saved with the run as JSON.

`step` says what a step is and how steps are chained; each kind of step has a file of its own (`scale`, `lookup`).
`pipeline` applies the steps of all features, `fitting` fits them. The data's own scaling (`data.scale`) is the last
step of the inputs; the steps of `data.preprocess` come before it.
"""

from dltrain.data.preprocess.fitting import Block, fit, fit_blocks
from dltrain.data.preprocess.lookup import Lookup
from dltrain.data.preprocess.offset import Offset
from dltrain.data.preprocess.pipeline import Preprocess
from dltrain.data.preprocess.quantile import Quantiles, QuantileScaler
from dltrain.data.preprocess.robust import Robust, RobustScaler
from dltrain.data.preprocess.scale import Affine, Scale, Scaler
from dltrain.data.preprocess.step import Chain, Step

__all__ = [
    "Affine",
    "Block",
    "Chain",
    "Lookup",
    "Offset",
    "Preprocess",
    "QuantileScaler",
    "Quantiles",
    "Robust",
    "RobustScaler",
    "Scale",
    "Scaler",
    "Step",
    "fit",
    "fit_blocks",
]
