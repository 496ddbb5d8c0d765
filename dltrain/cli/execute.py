"""Execution of a parsed command line: composes its config and calls its command."""

import functools
import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dltrain.cli.argv import CommandLine
from dltrain.cli.discovery import Command, with_launcher
from dltrain.cli.resumed_sweep import resume
from dltrain.cli.sweep import sweep
from dltrain.composition.compose import make_call, make_request
from dltrain.composition.settings import apply_to_run, recipe_settings, wants_sweep
from dltrain.composition.show import show
from dltrain.config.folders import Tree
from dltrain.devices.environment import check_environment
from dltrain.errors import ConfigError
from dltrain.startup import resume_collection

OF_TRAINING = ("--multirun", "--resume", "--cfg", "--info", "--package", "--resolve", "--run")


def execute(
    line: CommandLine, known: Mapping[str, Command], folders: tuple[Path, ...], tree: Tree, asking: list[str]
) -> int:
    """Run the command of a line, and return its exit code; `asking` are texts that may refer to the environment."""
    if line.words and line.command == "train":
        raise ConfigError(f"{line.words[0]}: dltrain train takes group=choice and key=value only")
    if line.command != "train" and (flag := next((f for f in OF_TRAINING if f in line.flags), None)):
        raise ConfigError(f"{flag}: is for training only")
    if line.command == "train":
        return _train(line, folders, tree, asking)
    command = with_launcher(known[line.command], line.words, folders)
    if command.name != "doctor":  # which reports such a problem itself, among others
        check_environment()
    request = make_request(command.name, line.overrides, folders, tree, command.keys, command.defaults)
    call = make_call(request, line.words, asking)
    if line.passed:
        passed = importlib.import_module("dltrain.cli.passed")  # which imports jax
        compose = functools.partial(passed.compose_passed, line.passed, known, asking)
        call = replace(call, passed=line.passed, compose_passed=compose)
    call = replace(call, sweep=lambda repeat: sweep(call.training_words(), folders, tree, repeat=repeat))
    loaded = command.load()
    resume_collection()
    return loaded.run(call)


def _resume(line: CommandLine, folders: tuple[Path, ...], tree: Tree) -> int:
    if "--multirun" not in line.flags:
        run = line.flags["--resume"]
        raise ConfigError(
            f"--resume {run}: is for a sweep: dltrain -m --resume {run}; for a run: dltrain resume {run}"
        )
    kept = ("trust=", "hydra/launcher=", "hydra.launcher.")
    if other := next((word for word in line.overrides if not word.lstrip("+").startswith(kept)), None):
        raise ConfigError(
            f"{other}: a sweep that is resumed keeps its configs; only trust=[...] and a launcher can be set"
        )
    return resume(Path(line.flags["--resume"]), line.overrides, folders, tree)


def _train(line: CommandLine, folders: tuple[Path, ...], tree: Tree, asking: list[str]) -> int:
    showing = [flag for flag in ("--cfg", "--info") if flag in line.flags]
    if len(showing) + ("--multirun" in line.flags) > 1:
        raise ConfigError("--multirun, --cfg, --info: use only one of them")
    if orphan := next((f for f in ("--package", "--resolve") if f in line.flags and showing != ["--cfg"]), None):
        raise ConfigError(f"{orphan}: is an option of --cfg")
    if not showing:
        check_environment()
    if "--resume" in line.flags:
        return _resume(line, folders, tree)
    if "--multirun" in line.flags or (not showing and wants_sweep(line.overrides, tree)):
        return sweep(line.overrides, folders, tree)
    request = make_request("train", line.overrides, folders, tree)
    if showing:
        composed = make_call(replace(request, imports=False), texts=asking).compose()
        print(show(request, composed, line.flags), end="")
        return 0
    if searching := next((o for o in request.overrides if o.key == "sweep" and o.value != "grid"), None):
        raise ConfigError(f"{searching.word}: a search trains several runs; type dltrain -m {searching.word} ...")
    call = make_call(request, line.words, asking)
    composed = call.compose()  # what needs no jax is checked before the command imports it, which takes a second
    if request.hydra or recipe_settings(composed.choices.get("experiment"), tree):
        named = apply_to_run(request, composed)
        if named and composed.config["output_dir"]:
            raise ConfigError("output_dir, hydra.run.dir: both name the run folder; set only one")
        call = replace(call, folder=named)
    return importlib.import_module("dltrain.commands.train").run(call)
