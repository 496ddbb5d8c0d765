"""What stands at the end of a sweep: its table, the best config, what mattered, figures, and a page."""
