"""Train a model; the default command of `dltrain`.

Choose parts by name (model=cnn) and options by key (optim.learning_rate=3e-4). The run folder holds its config,
curves, checkpoints and TensorBoard files; a run can be resumed from it with bit-identical results.
"""

from dltrain.config.call import Call
from dltrain.entry import train_config


def run(call: Call) -> int:
    """Compose the config, train and report."""
    train_config(call.compose(), overrides=call.overrides, folder=call.folder, label=call.label)
    return 0
