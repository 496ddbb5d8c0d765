"""The command line: arguments, overrides, sweeps, completion and help. The only package that imports Hydra."""
