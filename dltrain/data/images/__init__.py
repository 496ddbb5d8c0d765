"""Folders of images: which files belong to which class and split, and how an image becomes an array."""
