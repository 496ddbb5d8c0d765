"""What a person reads of a run: the words at its start, while it works and at its end."""
