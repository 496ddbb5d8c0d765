"""What starts the processes of a run, one file each: `launch(words, options, config)` returns the exit code."""
