"""One file a source of rows; see `dltrain.types.Source`."""
