"""Hydra's own node: composed with the config, checked for code to call, and applied to a run or a sweep."""

import contextlib
import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dltrain.composition.loader import (
    ONE_AT_A_TIME,
    OWN_SWEEPER,
    register_sweeper,
    search_path,
    translated,
    version_base,
)
from dltrain.composition.overrides import read_single
from dltrain.config.call import Composed
from dltrain.config.choices import word_of, words_of
from dltrain.config.folders import Tree, read_yaml
from dltrain.config.hydra_node import GROUP, typed_fault
from dltrain.config.request import Override, Request
from dltrain.config.schema import MULTIPLE
from dltrain.errors import LIBRARIES, ConfigError

HOMES = ("hydra.", "hydra_plugins.", "optuna.samplers.")  # where launchers, sweepers and their samplers live
RUN_DIR = "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}"
SWEEP_DIR = "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}"
SUBDIR = "${hydra.job.num}"
"""Hydra's defaults; dltrain names these folders itself, so that no two starts share one."""


@dataclass(frozen=True)
class Settings:
    """What is set under `hydra`, by the command line or by an experiment."""

    mode: str  # RUN, MULTIRUN, or empty
    run_dir: str  # empty: not set
    sweep_dir: str
    subdir: str  # unresolved: it differs between jobs
    sweeper: Mapping[str, Any]  # resolved
    launcher: Mapping[str, Any]  # resolved
    chosen: Mapping[str, str]  # hydra/launcher and the like -> choice
    verbose: Any
    plain: bool = False  # nothing is set that changes how Hydra's own sweeper and launcher start jobs


def read_hydra(words: Sequence[str], tree: Tree, trust: tuple[str, ...]) -> tuple[Override, ...]:
    """Read the overrides of Hydra's own keys, or raise ConfigError for one that is not allowed."""
    read = tuple(read_single(word, tree) for word in words)
    if faults := [fault for o in read if (fault := typed_fault(o.key, o.text, trust))]:
        raise ConfigError("\n".join(faults))
    return read


def trusted(words: Sequence[str], tree: Tree) -> tuple[str, ...]:
    """Return the packages that the words of a command line trust."""
    found = [read_single(word, tree).value for word in words if word.lstrip("+").startswith("trust=")]
    names = found[-1] if found else []
    return tuple(map(str, names if isinstance(names, list) else [names]))


def recipe_settings(experiment: str | None, tree: Tree) -> dict[str, Any]:
    """Return what an experiment sets under `hydra`, as written."""
    path = tree.get("experiment", {}).get(experiment or "")
    return read_yaml(path).get("hydra") or {} if path else {}


def wants_sweep(words: Sequence[str], tree: Tree) -> bool:
    """Tell whether hydra.mode, typed or set by the experiment, makes this a sweep without -m."""
    plain = dict(word.lstrip("+").partition("=")[::2] for word in words)
    mode = plain.get("hydra.mode") or recipe_settings(plain.get("experiment"), tree).get("mode")
    return mode == "MULTIRUN"


def hydra_words(overrides: Sequence[Override]) -> list[str]:
    """Format overrides of Hydra's own keys as words for Hydra."""
    return [f"{o.key}={o.text}" if GROUP.fullmatch(o.key) else f"++{o.key}={o.text}" for o in overrides]


def decided_words(request: Request, composed: Composed) -> list[str]:
    """Write a request as words for Hydra, with `auto` decided."""
    chosen = {group: names.split(",") for group, names in composed.choices.items()}
    groups = [f"{g}={words_of(names) if g in MULTIPLE else word_of(names[0])}" for g, names in chosen.items()]
    return [*groups, *(o.for_hydra for o in request.values()), *hydra_words(request.hydra)]


def compose_whole(words: Sequence[str], folders: tuple[Path, ...]) -> Any:
    """Compose train.yaml with Hydra's own node, and check that this names no code to call."""
    import hydra
    from omegaconf import OmegaConf

    register_sweeper()
    with ONE_AT_A_TIME, translated(), hydra.initialize_config_dir(str(folders[0]), **version_base()):
        whole = hydra.compose("train", [*words, *search_path(folders)], return_hydra_config=True)
        plugins: Any = {n: OmegaConf.to_container(whole.hydra[n], resolve=True) for n in ("launcher", "sweeper")}
    for name, plugin in plugins.items():
        if not all(str(target).startswith(HOMES) for target in _targets(plugin)):
            raise ConfigError(f"hydra.{name}: names code of its own; choose one by name: hydra/{name}=...")
    if whole.hydra.callbacks:
        names = ", ".join(whole.hydra.callbacks)
        raise ConfigError(f"hydra.callbacks: {names}: dltrain does not let Hydra call code; use callbacks=[...]")
    return whole


def read_settings(whole: Any) -> Settings:
    """Read the settings from a composed config."""
    from omegaconf import OmegaConf

    node = whole.hydra
    plain: Any = OmegaConf.to_container(node, resolve=False)
    with _current(whole), translated():
        run_dir = "" if plain["run"]["dir"] == RUN_DIR else str(node.run.dir)
        sweep_dir = "" if plain["sweep"]["dir"] == SWEEP_DIR else str(node.sweep.dir)
        sweeper, launcher = (
            cast(Any, OmegaConf.to_container(n, resolve=True)) for n in (node.sweeper, node.launcher)
        )
    choices: Any = OmegaConf.to_container(node.runtime.choices)
    chosen = {key: value for key, value in choices.items() if key.startswith("hydra/")}
    if chosen["hydra/sweeper"] == OWN_SWEEPER:  # its combinations are Hydra's own, and `sweep` searches
        chosen["hydra/sweeper"] = "basic"
    mode = getattr(node.mode, "name", None) or str(node.mode or "")
    basic = chosen["hydra/sweeper"] == chosen["hydra/launcher"] == "basic" and not node.verbose
    kept = sweeper.get("max_batch_size") is None and plain["sweep"]["subdir"] == SUBDIR
    nothing = not any(plain["job"][name] for name in ("env_set", "env_copy")) and not plain["callbacks"]
    logs = all(chosen[f"hydra/{name}"] in ("default", "none") for name in ("job_logging", "hydra_logging"))
    return Settings(
        mode,
        run_dir,
        sweep_dir,
        plain["sweep"]["subdir"],
        sweeper,
        launcher,
        chosen,
        node.verbose,
        plain=basic and kept and nothing and logs,
    )


def apply_to_run(request: Request, composed: Composed) -> Path | None:
    """Set up logging as `hydra` says, and return the run folder that it names, if it names one."""
    from hydra.core.utils import configure_log
    from omegaconf import OmegaConf, open_dict, read_write

    words = decided_words(request, composed)
    settings = read_settings(compose_whole(words, request.folders))
    if settings.verbose or settings.chosen["hydra/job_logging"] != "default":
        whole = compose_whole([*words, *logging_words(settings, request.hydra)], request.folders)
        with read_write(whole.hydra), open_dict(whole.hydra):
            whole.hydra.runtime.output_dir = "."
            with _current(whole):
                log: Any = OmegaConf.to_container(whole.hydra.job_logging, resolve=True)
        files = [name for name, handler in (log.get("handlers") or {}).items() if "filename" in handler]
        for name in files:  # a run has its train.log, and its folder is not there yet
            del log["handlers"][name]
        if log.get("root"):
            log["root"]["handlers"] = [n for n in log["root"].get("handlers", []) if n not in files]
        configure_log(OmegaConf.create(log), settings.verbose)
        for name in LIBRARIES if settings.verbose else ():
            logging.getLogger(name).propagate = True
    return Path(settings.run_dir).expanduser() if settings.run_dir else None


def logging_words(settings: Settings, typed: Sequence[Override]) -> list[str]:
    """Choose the logging of jobs and of Hydra itself if the user did not: dltrain does its own logging."""
    words = []
    if settings.chosen["hydra/job_logging"] == "default":
        words.append(f"hydra/job_logging={'stdout' if settings.verbose else 'none'}")
    typed_logging = any(o.key == "hydra/hydra_logging" for o in typed)
    if settings.chosen["hydra/hydra_logging"] == "default" and not settings.verbose and not typed_logging:
        words.append("hydra/hydra_logging=none")
    return words


def _targets(node: Any) -> Iterator[Any]:
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        if key == "_target_":
            yield value
        if isinstance(value, Mapping | list):
            yield from _targets(value)


@contextlib.contextmanager
def _current(whole: Any) -> Generator[None]:
    """Make this config available to `${hydra:...}` inside the context."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import setup_globals

    setup_globals()
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(whole)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before
