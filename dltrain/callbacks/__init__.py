"""Callbacks that run between chunks of steps, one per file; user-defined callbacks need nothing from here."""
