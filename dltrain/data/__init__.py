"""Rows, splits, the order in which they come, and what is done to them before a model sees them."""
