"""The entry point: runs one command line and returns its exit code."""

import importlib
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dltrain import __version__
from dltrain.cli import faults
from dltrain.cli import help as texts
from dltrain.cli.argv import CommandLine, no_command, parse_argv
from dltrain.cli.completion import complete
from dltrain.cli.discovery import Command, find_commands, trusted_packages, user_packages
from dltrain.cli.output import outlive_readers
from dltrain.cli.sweep import sweep
from dltrain.composition.compose import make_call, make_request
from dltrain.composition.settings import apply_to_run, recipe_settings, wants_sweep
from dltrain.composition.show import show
from dltrain.config.folders import Tree, read_tree, roots
from dltrain.devices.environment import check_environment, check_folder
from dltrain.errors import LIBRARIES, THIRD_PARTY, ConfigError, DiskError
from dltrain.report.width import for_terminal

OF_TRAINING = ("--multirun", "--cfg", "--info", "--package", "--resolve", "--run")


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    owned = argv is None  # this process runs only this command line
    if owned:
        outlive_readers()
        faults.catch_signals()
        _keep_libraries_quiet()
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
        return faults.report(faults.as_error(error, user_packages(argv)), texts=asking)
    return code


def _keep_libraries_quiet() -> None:
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
    known = find_commands(trusted_packages(argv))
    line = parse_argv(argv, known)
    if "--version" in line.flags:
        print(f"dltrain {__version__}")
        return 0
    if "--shell-completion" in line.flags:
        return complete(line.flags["--shell-completion"], known)
    folders = roots(line.flags.get("--config-dir"))
    tree = read_tree(folders)
    if "--help" in line.flags:
        print(for_terminal(_help(line, known, tree, folders)))
        return 0
    if line.words and not line.named:
        raise ConfigError(no_command(line.words[0], known, tree))
    if line.words and line.command == "train":
        raise ConfigError(f"{line.words[0]}: dltrain train takes group=choice and key=value only")
    if line.command != "train" and (flag := next((f for f in OF_TRAINING if f in line.flags), None)):
        raise ConfigError(f"{flag}: is for training only")
    if line.command == "train":
        return _train(line, folders, tree, asking)
    command = known[line.command]
    if command.name != "doctor":  # which reports such a problem itself, among others
        check_environment()
    request = make_request(command.name, line.overrides, folders, tree, command.keys, command.defaults)
    call = make_call(request, line.words, asking)
    return command.load().run(call)


def _train(line: CommandLine, folders: tuple[Path, ...], tree: Tree, asking: list[str]) -> int:
    showing = [flag for flag in ("--cfg", "--info") if flag in line.flags]
    if len(showing) + ("--multirun" in line.flags) > 1:
        raise ConfigError("--multirun, --cfg, --info: use only one of them")
    if orphan := next((f for f in ("--package", "--resolve") if f in line.flags and showing != ["--cfg"]), None):
        raise ConfigError(f"{orphan}: is an option of --cfg")
    if not showing:
        check_environment()
    if "--multirun" in line.flags or (not showing and wants_sweep(line.overrides, tree)):
        return sweep(line.overrides, folders, tree)
    request = make_request("train", line.overrides, folders, tree)
    if showing:
        composed = make_call(replace(request, imports=False), texts=asking).compose()
        print(show(request, composed, line.flags), end="")
        return 0
    call = make_call(request, line.words, asking)
    composed = call.compose()  # what needs no jax is checked before the command imports it, which takes a second
    if request.hydra or recipe_settings(composed.choices.get("experiment"), tree):
        named = apply_to_run(request, composed)
        if named and composed.config["output_dir"]:
            raise ConfigError("output_dir, hydra.run.dir: both name the run folder; set only one")
        call = replace(call, folder=named)
    return importlib.import_module("dltrain.commands.train").run(call)


def _help(line: CommandLine, known: Mapping[str, Command], tree: Tree, folders: tuple[Path, ...]) -> str:
    if not line.named:
        return texts.overview(known)
    if line.command == "train":
        return texts.of_training(tree, folders)
    return texts.of_command(known[line.command], folders)
