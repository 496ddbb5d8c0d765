"""Scores of a trained model on a split: each metric with an interval, overall and per class, target or step.

`bootstrap` resamples examples, `states` lets it resample any metric of a run, `ranking` the areas under curves;
`classes` and `numbers` compare classes and numbers, `examples` lists single ones, and `score` joins all of it.
"""

from dltrain.inference.scores.bootstrap import Estimate, Resampling
from dltrain.inference.scores.score import score_split
from dltrain.inference.scores.scores import Scores

__all__ = ["Estimate", "Resampling", "Scores", "score_split"]
