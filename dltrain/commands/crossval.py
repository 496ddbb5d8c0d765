"""Cross-validate a training: dltrain crossval folds=5 data=iris model=mlp.

Cuts the examples for training into folds, and trains one run for each, with this fold as its validation set.
Printed are each metric over the folds, with a 95 % interval that allows for the training examples that folds share,
and the metrics of the out-of-fold predictions: each example by the model that was not trained on it. The runs are
left as an ensemble, which dltrain predict and dltrain evaluate take. The folder (output_dir; null: a new one in
multirun) is that of a sweep: dltrain -m --resume FOLDER goes on after an interruption. All other keys are those of
training.
"""

from dltrain.config.call import Call
from dltrain.errors import ConfigError
from dltrain.sweep.repeat import folds_of


def run(call: Call) -> int:
    """Check the keys, train all folds, and say what came of them."""
    if call.words:
        raise ConfigError(f"{call.words[0]}: dltrain crossval takes group=choice and key=value only")
    repeat = folds_of(call.training_words(), call.compose(), folds=call.options["folds"])
    return call.sweep(repeat)
