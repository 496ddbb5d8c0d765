"""The entry point: runs one command line and returns its exit code."""

import importlib
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from dltrain import __version__
from dltrain.cli import faults
from dltrain.cli import help as texts
from dltrain.cli.argv import CommandLine, no_command, parse_argv
from dltrain.cli.discovery import (
    Command,
    find_commands,
    trusted_packages,
    user_packages,
    with_launcher,
)
from dltrain.cli.output import outlive_readers
from dltrain.config.folders import Tree, read_tree, roots
from dltrain.devices.environment import check_folder
from dltrain.errors import LIBRARIES, THIRD_PARTY, ConfigError, DiskError
from dltrain.report.width import for_terminal
from dltrain.startup import pause_collection


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    owned = argv is None  # this process runs only this command line
    if owned:
        pause_collection()
        outlive_readers()
        faults.catch_signals()
        keep_libraries_quiet()
    argv = sys.argv[1:] if argv is None else argv
    asking = list(argv)  # texts that may refer to environment variables
    try:
        code = _run(argv, asking)
        sys.stdout.flush()
        if failure := getattr(sys.stdout, "failure", None):
            raise DiskError(
                f"standard output: {failure.strerror}; what could not be printed is in the run's train.log"
            )
    except (KeyboardInterrupt, Exception) as error:
        if faults.was_interrupted(error):
            print("dltrain: interrupted", file=sys.stderr)
            return faults.exit_process(130) if owned else 130
        code = faults.report(faults.as_error(error, user_packages(argv)), texts=asking)
        return faults.exit_process(code) if owned and faults.left_others() else code
    return code


def keep_libraries_quiet() -> None:
    """Send the warnings of libraries to the train.log of a run; outside a run's folder they go nowhere."""
    logging.captureWarnings(True)
    os.environ["MPLBACKEND"] = "agg"  # no window is ever opened
    for name in (*THIRD_PARTY, *LIBRARIES):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False


def _run(argv: list[str], asking: list[str]) -> int:
    check_folder()
    if wrong := next((word for word in argv if word.encode(errors="ignore") != os.fsencode(word)), None):
        raise ConfigError(f"{wrong!r}: is not UTF-8 text")
    known = find_commands(trusted_packages(argv), argv)
    line = parse_argv(argv, known)
    if "--version" in line.flags:
        print(f"dltrain {__version__}")
        return 0
    if "--shell-completion" in line.flags:
        return importlib.import_module("dltrain.cli.completion").complete(line.flags["--shell-completion"], known)
    folders = roots(line.flags.get("--config-dir"))
    tree = read_tree(folders)
    if "--help" in line.flags:
        print(for_terminal(_help(line, known, tree, folders)))
        return 0
    if line.words and not line.named:
        raise ConfigError(no_command(line.words[0], known, tree))
    # Imported here, since help and --version need nothing of what composes a config: half of their time.
    return importlib.import_module("dltrain.cli.execute").execute(line, known, folders, tree, asking)


def _help(line: CommandLine, known: Mapping[str, Command], tree: Tree, folders: tuple[Path, ...]) -> str:
    if not line.named:
        return texts.overview(known)
    if line.command == "train":
        return texts.of_training(tree, folders)
    return texts.of_command(with_launcher(known[line.command], line.words, folders), folders)
