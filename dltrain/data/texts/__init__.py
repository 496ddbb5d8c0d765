"""Texts: how they are cut into tokens, and what is fitted on the training texts."""
