"""dltrain: train a network on your own data from a shell, with JAX and Hydra YAML."""

__version__ = "0.1.0"
