"""Human-readable output of a run: at its start, while it trains, and at its end."""
