"""What was learnt about the data, as `model.json` keeps it: a model is rebuilt from it without the data."""

from typing import Any

from dltrain.build.parts import Parts
from dltrain.build.plan import Plan

VERSION = 1


def saved_model(parts: Parts, plan: Plan) -> dict[str, Any]:
    """Return everything that rebuilding the model needs besides the config and the weights."""
    return {
        "version": VERSION,
        "preprocess": parts.preprocess.to_json(),
        "eval_batch_size": plan.eval_batch_size,
    }
