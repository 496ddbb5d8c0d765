"""Data sources, one file each; see `dltrain.types.Source`."""
