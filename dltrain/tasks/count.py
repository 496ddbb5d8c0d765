"""Predict how often something happens: whole numbers from 0."""

import numpy as np

from dltrain.errors import DataError
from dltrain.tasks.regression import Regression
from dltrain.types import Spec


class Count(Regression):
    """Targets float [B, T], 0 or more; outputs [B, T], logarithms of the expected counts with `loss=poisson`."""

    standardizes_targets = False

    def check_targets(self, targets: np.ndarray, spec: Spec) -> None:
        """Raise DataError, naming the first bad example, unless all targets are 0 or more."""
        del spec
        if len(bad := np.flatnonzero((targets < 0).reshape(len(targets), -1).any(1))):
            raise DataError(
                f"task={self}: the target of example {bad[0]} is {np.min(targets[bad[0]]):g}, expected 0 or more; "
                f"{len(bad)} of {len(targets)} targets are negative; task=regression predicts any numbers"
            )
