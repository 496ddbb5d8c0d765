"""Convolution, pooling, recurrence and embedding with the semantics of lax and flax, lowered faster on CPUs."""
