"""Time series: reading and checking them, features of the calendar, windows, and baselines."""
