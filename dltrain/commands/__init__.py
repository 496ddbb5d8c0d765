"""One file a command; the folder is the list."""
