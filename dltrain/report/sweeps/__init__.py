"""The results of a sweep: its table, the best config, the importance of each key, figures, and a page."""
