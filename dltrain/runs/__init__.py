"""The run folder: its files, checkpoints, metrics and TensorBoard events."""
