"""From YAML and the command line to checked plain values, and from those to objects."""
