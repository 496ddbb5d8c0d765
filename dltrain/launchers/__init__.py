"""What starts the processes of a run, one file each: `launch(words, options) -> exit code`; options are YAML."""
