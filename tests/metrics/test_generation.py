"""Exact match counts generated texts that are entirely right."""

import jax.numpy as jnp
import numpy as np
import pytest
from metric_cases import spec_of

from dltrain import metrics
from dltrain.tasks import Binary, Generation
from dltrain.types import Feature, Kind, Spec

pytestmark = pytest.mark.usefixtures("unoptimised")


def test_exact_match_counts_texts_that_equal_the_target_up_to_the_end():
    spec = Spec(
        {"text": Feature(Kind.TOKENS, (2,), "int32", vocabulary=tuple("pseab"))},
        {"target": Feature(Kind.TOKENS, (3,), "int32", vocabulary=tuple("pseab"))},
        Generation(),
    )
    metric = metrics.ExactMatch(spec=spec)
    targets = jnp.array([[3, 4, 2], [3, 2, 0], [3, 2, 0], [4, 2, 0], [3, 4, 2]])
    written = jnp.array([[3, 4, 2], [3, 2, 4], [3, 4, 2], [4, 4, 4], [0, 0, 0]])  # 2: too long, 3: never ends
    batch = {"targets": targets, "loss_mask": targets > 0, "mask": jnp.array([True] * 4 + [False])}
    state = metric.add(metric.zero(), jnp.zeros((5, 3, 5)), {**batch, "generated": written})
    assert metric.value(state) == 0.5
    assert np.isnan(metric.value(metric.zero()))
    with pytest.raises(ValueError, match="not task=binary"):
        metrics.ExactMatch(spec=spec_of(Binary(), ("a", "b")))
