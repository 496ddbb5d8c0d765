"""Repeat a training with several seeds: dltrain seeds count=8 data=iris model=mlp.

Trains `count` runs that differ only in their seed: seed, seed+1, ... All have the same split of the data
(data.split_seed). Printed are mean, standard deviation and 95 % interval of each metric, its lowest and highest
value, and the metrics of all runs as one ensemble, which is calibrated and left for dltrain predict and dltrain
evaluate. The folder (output_dir; null: a new one in multirun) is that of a sweep: dltrain -m --resume FOLDER goes
on after an interruption. All other keys are those of training.
"""

from dltrain.config.call import Call
from dltrain.errors import ConfigError
from dltrain.sweep.repeat import seeds_of


def run(call: Call) -> int:
    """Check the keys, train all runs, and say what came of them."""
    if call.words:
        raise ConfigError(f"{call.words[0]}: dltrain seeds takes group=choice and key=value only")
    return call.sweep(seeds_of(call.compose(), count=call.options["count"]))
