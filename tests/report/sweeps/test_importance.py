"""The importance of keys: a planted one is found, and the numbers are Optuna's."""

import warnings

import numpy as np
import pytest

from dltrain.plots.decades import spans_decades
from dltrain.report.sweeps.importance import BEST, ENOUGH, importance


def planted(seed: int, count: int = 24):
    """Return keys of which only `a` decides the result, lower being better."""
    r = np.random.default_rng(seed)
    a = r.uniform(0, 1, count)
    keys = {
        "b": r.uniform(0, 1, count).tolist(),
        "c": r.choice(["x", "y", "z"], count).tolist(),
        "a": a.tolist(),
        "rate": (10 ** r.uniform(-5, -1, count)).tolist(),
        "some": [None if i % 3 == 0 else float(r.uniform()) for i in range(count)],
    }
    return keys, ((a - 0.3) ** 2).tolist()


def test_a_planted_key_is_the_most_important():
    found = [importance(*planted(seed), higher=False)[0] for seed in range(20)]
    assert sum(next(iter(shares)) == "a" for shares in found) >= 18
    assert all(sum(shares.values()) == pytest.approx(1) for shares in found)
    keys, costs = planted(0)
    assert importance(keys, [-cost for cost in costs], higher=True)[0] == found[0]


@pytest.mark.parametrize("count", [9, 40, 80])
def test_the_importance_is_that_of_optuna(count):
    optuna = pytest.importorskip("optuna")
    spaces = optuna.distributions
    keys, costs = planted(count, count)
    known = {key: [v for v in values if v is not None] for key, values in keys.items()}
    space = {
        key: spaces.CategoricalDistribution(sorted(set(values)))
        if isinstance(values[0], str)
        else spaces.FloatDistribution(min(values), max(values), log=spans_decades(np.array(values)))
        for key, values in known.items()
    }
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study()
        for i, cost in enumerate(costs):
            chosen = {key: values[i] for key, values in keys.items() if values[i] is not None}
            mine = {key: space[key] for key in chosen}
            study.add_trial(optuna.trial.create_trial(params=chosen, distributions=mine, value=cost))
        share = min(BEST[1], max(BEST[0], ENOUGH / count))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
        wanted = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert importance(keys, costs, higher=False)[0] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("keys", "scores", "why"),
    [
        ({"a": [1.0, 2.0] * 3}, [1.0] * 6, "needs 8 finished jobs; there are 6"),
        ({}, [1.0] * 8, "differ in no key"),
        ({"a": [1.0, 2.0] * 4}, [1.0] * 8, "do not depend on any key"),
    ],
)
def test_it_says_why_there_is_no_importance(keys, scores, why):
    shares, reason = importance(keys, scores, higher=True)
    assert shares == {} and why in reason
