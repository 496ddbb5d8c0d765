"""The YAML of dltrain, as a package, so that the config of another program can build on it: pkg://dltrain.configs."""
