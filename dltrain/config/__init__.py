"""From YAML and the command line to checked plain values."""
