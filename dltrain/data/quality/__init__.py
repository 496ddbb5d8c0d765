"""What may be wrong with data: pure functions of its columns, rows and splits, which report findings."""
