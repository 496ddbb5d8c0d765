"""Sweeps: many runs as one program where possible, as jobs otherwise."""
