"""Models, one file per family: each is an `nnx.Module` called as `model(inputs, mask=..., rngs=...)`."""
