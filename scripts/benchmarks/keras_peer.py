"""The same networks in Keras with the jax backend, trained by `fit`."""

import os
from typing import Any

from benchmarks.measure import Peer, Skip, require
from benchmarks.nets import RATE, Net, arrays


def make(net: Net, program: Any, batch: int) -> Peer:
    """Build and compile the network; one `fit` per call."""
    require("keras")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    if keras.backend.backend() != "jax":
        raise Skip(f"Keras computes with {keras.backend.backend()} here; set KERAS_BACKEND=jax")
    model = _built(net, keras)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=loss)
    x, y = arrays(program)
    per_epoch = len(x) // batch

    def run(n: int) -> int:
        epochs, rest = divmod(n, per_epoch)
        for steps, times in ((per_epoch, epochs), (rest, 1)):
            if steps and times:
                rows = steps * batch
                model.fit(x[:rows], y[:rows], batch_size=batch, epochs=times, verbose=0)
        return n

    return Peer("Keras on JAX", run)


def _built(net: Net, keras: Any) -> Any:
    layers = keras.layers
    stack = [layers.Input((28, 28, 1))]
    for channels in net.channels:
        padding = "same" if net.same else "valid"
        stack += [layers.Conv2D(channels, net.kernel, padding=padding, activation="relu"), layers.MaxPooling2D()]
    if net.hidden:
        stack += [layers.Reshape((28, 28)), layers.LSTM(net.hidden)]
    else:
        stack += [layers.Flatten(), *(layers.Dense(width, activation="relu") for width in net.dense)]
    return keras.Sequential([*stack, layers.Dense(10)])
