"""Figures drawn from arrays."""
