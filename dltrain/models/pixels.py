"""An image as one vector, for models that take it next to columns of numbers, categories and texts."""

import jax
from flax import nnx

from dltrain import initializers
from dltrain.models.cnn import Pool, Pooling, activated_and_pooled
from dltrain.ops.conv import conv_general_dilated
from dltrain.types import Array, Feature

CHANNELS = (16, 32, 64)
POOLING = Pooling(Pool.MAX, 2, 2)


class Pixels(nnx.Module):
    """Convolutions of 3x3 pixels, each with max pooling, then the mean over the places: [B, H, W, C] -> [B, 64]."""

    size = CHANNELS[-1]

    def __init__(self, feature: Feature, *, rngs: nnx.Rngs) -> None:
        """Build a block for each of CHANNELS; small images are no longer pooled where a side would vanish."""
        height, width, depth = feature.shape
        self.convolutions, pooled = nnx.List(), []
        for out in CHANNELS:
            self.convolutions.append(
                nnx.Conv(
                    depth,
                    out,
                    (3, 3),
                    kernel_init=initializers.he_normal(),
                    conv_general_dilated=conv_general_dilated,
                    rngs=rngs,
                )
            )
            pooled.append(min(height, width) >= 2)
            height, width = (side // 2 if pooled[-1] else side for side in (height, width))
            depth = out
        self.pooled = tuple(pooled)

    def __call__(self, images: Array) -> Array:
        """Return the vectors, float [B, size]."""
        x = images
        for convolution, pooled in zip(self.convolutions, self.pooled, strict=True):
            x = convolution(x)
            x = activated_and_pooled(x, jax.nn.relu, POOLING) if pooled else jax.nn.relu(x)
        return x.mean((1, 2))
