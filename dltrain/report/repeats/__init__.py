"""Runs that repeat one training, over folds or seeds: their spread, and their ensemble."""
