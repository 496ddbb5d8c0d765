"""Predict several numbers for each example, with metrics of each."""

from dltrain.tasks.regression import Regression


class Multitarget(Regression):
    """Targets float [B, T]; outputs [B, T]; a regression, with the metrics of each target and their mean."""
