"""One file a family of models: an `nnx.Module` called as `model(inputs, mask=..., rngs=...)`."""
