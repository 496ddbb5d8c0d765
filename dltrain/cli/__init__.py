"""The command line: arguments, help, completion, sweeps and exit codes."""
