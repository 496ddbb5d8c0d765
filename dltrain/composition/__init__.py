"""Everything done by Hydra: overrides, composing, sweeps and completion. The only package that imports it."""
