"""Convolution, pooling and recurrence with lax's meaning, lowered better where a platform needs it."""
