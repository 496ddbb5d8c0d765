"""Generative adversarial networks: a generator and a discriminator in one module, trained with one loss.

`stop_gradient` keeps each network's loss from the other's weights, so that one step updates both. Goodfellow et
al., arXiv:1406.2661; DCGAN: Radford et al., arXiv:1511.06434.
"""

import itertools
import math
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain import activations, initializers
from dltrain.models.cnn import CNN, Pool
from dltrain.models.layers import ConvTranspose, Norm, make_norm, normalise
from dltrain.models.mlp import MLP
from dltrain.ranges import BelowOne, Size, Traced
from dltrain.tasks import Binary, Regression
from dltrain.types import Activation, Array, Feature, Initializer, Kind, Spec

LEAKY = partial(activations.leaky_relu, alpha=0.2)  # of a discriminator (Radford et al., section 3)

DiscriminatorLogits = dict[str, Array]
"""Logits [B] that an example is real: of `real` and of `fake` examples (for the discriminator), and `fooling`
(those of the fake examples again, for the generator)."""


class GAN(nnx.Module):
    """Two multilayer perceptrons, for tables and small images: [B, ...] -> logits."""

    def __init__(
        self,
        widths: tuple[Size, ...] = (128, 128),
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        noise: Size = 16,
        activation: Activation = jax.nn.relu,
        output: Activation = activations.identity,
        norm: Norm = Norm.BATCH,
        discriminator_norm: Norm = Norm.NONE,
        discriminator_activation: Activation = LEAKY,
        dropout: Traced[BelowOne] = 0.0,
        kernel_init: Initializer = initializers.he_normal(),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the generator and the discriminator.

        Args:
            widths: units of the discriminator's hidden layers; the generator has them in reverse order.
            spec: features and task of the data.
            rngs: for the initial values.
            noise: size of the noise vector that an example is generated from.
            activation: of the generator.
            output: of the generator; `tanh` for images with `data.scale=symmetric`.
            norm: of the generator's hidden layers.
            discriminator_norm: of the discriminator's hidden layers.
            discriminator_activation: of the discriminator.
            dropout: of the discriminator.
            kernel_init: initial weights.
            bias_init: initial biases.
        """
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        seed = {"noise": Feature(Kind.NUMBERS, (noise,), "float32")}
        generated = Spec(seed, {"example": spec.input}, Regression())
        self.generator = MLP(widths[::-1], spec=generated, activation=activation, norm=norm, **init)
        self.discriminator = MLP(
            widths,
            spec=replace(spec, task=Binary()),
            activation=discriminator_activation,
            norm=discriminator_norm,
            dropout=dropout,
            **init,
        )
        self.noise, self.output, self.shape = noise, output, spec.input.shape

    def __call__(self, inputs: Array, *, mask: Array | None, rngs: nnx.Rngs | None) -> DiscriminatorLogits:
        """Classify examples and as many generated ones; without `rngs`, these come from fixed noise."""
        fake = self._generate(_noise(rngs, (len(inputs), self.noise), inputs.dtype), mask, rngs)
        return classify(self.discriminator, inputs, fake, mask=mask, rngs=rngs)

    def sample(self, key: Array, count: int) -> Array:
        """Generate examples, float [count, ...], scaled like the inputs."""
        return self._generate(jax.random.normal(key, (count, self.noise)), None, None)

    def _generate(self, noise: Array, mask: Array | None, rngs: nnx.Rngs | None) -> Array:
        flat = self.output(self.generator(noise, mask=mask, rngs=rngs))
        return flat.reshape(len(noise), *self.shape)


class DCGAN(nnx.Module):
    """Two convolutional networks for images in [-1, 1]: [B, H, W, C] -> logits."""

    def __init__(
        self,
        channels: tuple[Size, ...] = (32, 64),
        *,
        spec: Spec,
        rngs: nnx.Rngs,
        noise: Size = 64,
        kernel: Size = 4,
        norm: Norm = Norm.BATCH,
        discriminator_norm: Norm = Norm.BATCH,
        activation: Activation = jax.nn.relu,
        discriminator_activation: Activation = LEAKY,
        dropout: Traced[BelowOne] = 0.0,
        kernel_init: Initializer = initializers.normal(0.02),
        bias_init: Initializer = initializers.zeros(),
    ) -> None:
        """Build the generator and the discriminator.

        Args:
            channels: of the discriminator's convolutions, each of which halves height and width; the generator has
                them in reverse order.
            spec: features and task of the data; half of an odd side is rounded up, 7 to 4.
            rngs: for the initial values.
            noise: size of the noise vector that an image is generated from.
            kernel: height and width of the convolutions; even.
            norm: of the generator's hidden layers.
            discriminator_norm: of the discriminator's convolutions; real and generated images are normalised
                separately.
            activation: of the generator.
            discriminator_activation: of the discriminator.
            dropout: of the discriminator, before its output.
            kernel_init: initial weights.
            bias_init: initial biases.
        """
        if spec.input.kind is not Kind.IMAGE:
            raise ValueError(f"generates images, but this data is {spec.input.kind.words}; try model=gan")
        init: dict[str, Any] = {"kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs}
        self.generator = Generator(channels[::-1], spec, noise, kernel, norm, activation, **init)
        self.discriminator = CNN(
            channels,
            spec=replace(spec, task=Binary()),
            kernel=kernel,
            stride=2,
            pool=Pool.NONE,
            norm=discriminator_norm,
            dense=(),
            dropout=dropout,
            activation=discriminator_activation,
            **init,
        )
        self.noise = noise

    def __call__(self, inputs: Array, *, mask: Array | None, rngs: nnx.Rngs | None) -> DiscriminatorLogits:
        """Classify images and as many generated ones; without `rngs`, these come from fixed noise."""
        fake = self.generator(_noise(rngs, (len(inputs), self.noise), inputs.dtype), mask=mask)
        return classify(self.discriminator, inputs, fake, mask=mask, rngs=rngs)

    def sample(self, key: Array, count: int) -> Array:
        """Generate images, float [count, H, W, C] in [-1, 1]."""
        return self.generator(jax.random.normal(key, (count, self.noise)), mask=None)


class Generator(nnx.Module):
    """Noise [B, N] -> images [B, H, W, C] in [-1, 1]: each transposed convolution doubles the size."""

    def __init__(
        self,
        channels: tuple[int, ...],
        spec: Spec,
        noise: int,
        kernel: int,
        norm: Norm,
        activation: Activation,
        *,
        rngs: nnx.Rngs,
        **init: Any,
    ) -> None:
        """Build the layers, beginning with channels[0] at the smallest size."""
        *sides, depth = spec.input.shape
        sizes = [tuple(-(-side // 2**times) for side in sides) for times in range(len(channels), -1, -1)]
        if len(sizes) > 1 and 1 in sizes[1]:
            height, width = sides
            raise ValueError(
                f"images of {height}x{width} cannot be halved {len(channels)} times; use fewer model.channels"
            )
        self.small, self.sizes = (*sizes[0], channels[0]), tuple(sizes[1:])
        self.first = nnx.Linear(noise, math.prod(self.small), rngs=rngs, **init)
        self.activation = activation
        self.norms = nnx.List([make_norm(norm, c, rngs=rngs) for c in channels])
        self.larger = nnx.List(
            [ConvTranspose(a, b, kernel, 2, rngs=rngs, **init) for a, b in itertools.pairwise((*channels, depth))]
        )

    def __call__(self, noise: Array, *, mask: Array | None) -> Array:
        """Return the images; examples whose mask is False do not affect the others."""
        x = self.first(noise).reshape(len(noise), *self.small)
        for norm, larger, (height, width) in zip(self.norms, self.larger, self.sizes, strict=True):
            x = larger(self.activation(normalise(norm, x, mask=mask)))[:, :height, :width]
        return jnp.tanh(x)


def classify(
    discriminator: Any, real: Array, fake: Array, *, mask: Array | None, rngs: nnx.Rngs | None
) -> DiscriminatorLogits:
    """Classify real and generated examples, [B, ...] each, in separate calls.

    Thus batch norm sees one kind at a time. It uses the statistics of the batch without `rngs`, too: the running
    ones mix both kinds.
    """
    graphdef, params, rest = nnx.split(discriminator, nnx.Param, ...)
    frozen = nnx.merge(graphdef, jax.tree.map(jax.lax.stop_gradient, params), rest, copy=True)
    if rngs is None:
        frozen.set_attributes(use_running_average=False, raise_if_not_found=False)
        discriminator = frozen
    fake = fake.astype(real.dtype)
    fooling = frozen(fake, mask=mask, rngs=rngs)
    examples = {"real": real, "fake": jax.lax.stop_gradient(fake)}
    logits = {name: discriminator(x, mask=mask, rngs=rngs) for name, x in examples.items()}
    return {name: value[:, 0] for name, value in {**logits, "fooling": fooling}.items()}


def _noise(rngs: nnx.Rngs | None, shape: tuple[int, int], dtype: Any) -> Array:
    key = jax.random.key(0) if rngs is None else rngs.dropout()
    return jax.random.normal(key, shape, dtype)
