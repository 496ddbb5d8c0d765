"""Commands of the CLI, one file each; the folder is the list."""
