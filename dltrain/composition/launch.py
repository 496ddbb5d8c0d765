"""Running a sweep with Hydra: its sweeper produces the combinations, its launcher starts the jobs."""

import contextlib
import functools
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dltrain.composition.loader import run_hydra, search_path
from dltrain.composition.overrides import quote
from dltrain.config.hydra_node import is_hydra
from dltrain.errors import ConfigError

Objectives = float | list[float]


@dataclass(frozen=True)
class Job:
    """One job of a sweep, in the process that the launcher started."""

    number: int
    words: tuple[str, ...]  # its overrides
    folders: tuple[Path, ...]  # of YAML
    folder: Path  # where it must write
    sweep: Path  # the folder of the sweep


class SweepStopped(BaseException):
    """Ends a sweep from inside a job: Ctrl-C and SIGTERM end all of it, not one job."""

    def __init__(self, code: int, reason: str = "") -> None:
        """Keep the exit code, and what the user does not know yet."""
        super().__init__(code, reason)
        self.code, self.reason = code, reason


def launch(
    words: Sequence[str], folder: Path, folders: tuple[Path, ...], *, train: Callable[[Job], Objectives]
) -> None:
    """Run every combination of `words` in folders under `folder`; the sweeper receives what a job returns."""
    fixed = [f"hydra.sweep.dir={quote(str(folder))}", "hydra.mode=MULTIRUN"]
    fixed += ["hydra.output_subdir=null", "hydra.job.chdir=false", *search_path(folders)]
    quiet = contextlib.redirect_stderr(cast(Any, _WithoutHydra(sys.stderr)))
    if "hydra/hydra_logging=none" in words:  # a failed job has been reported already
        logging.getLogger("hydra_plugins").setLevel(logging.CRITICAL)
    try:
        with quiet:
            run_hydra(folders, functools.partial(_task, train), "-m", *words, *fixed)
    finally:
        (folder / "multirun.yaml").unlink(missing_ok=True)  # Hydra's; the folder of each job says what it was


def expand(words: Sequence[str], folder: Path, folders: tuple[Path, ...]) -> list[Job]:
    """Return the jobs that Hydra's own sweeper and launcher would start with `words`, without composing each twice.

    For a sweep whose jobs have the same choices, and nothing set under `hydra`: `Settings.plain`.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    own = [word for word in words if not is_hydra(word.lstrip("+~").partition("=")[0])]
    (combinations,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(own), None)
    jobs = []
    for number, found in enumerate(combinations):
        place = folder / str(number)
        place.mkdir(parents=True, exist_ok=True)
        jobs.append(Job(number, tuple(word.lstrip("+") for word in found), folders, place, folder))
    return jobs


def _task(train: Callable[[Job], Objectives], _: Any) -> Objectives:
    """Read from Hydra which job this is, and train it."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    settings = HydraConfig.get()
    typed: Any = OmegaConf.to_container(settings.overrides, resolve=False)  # unresolved: a secret stays unread
    folders = tuple(Path(s.path) for s in settings.runtime.config_sources if s.schema == "file")
    words = tuple(word.lstrip("+") for word in typed["task"])
    folder, sweep = Path(settings.runtime.output_dir), Path(settings.sweep.dir)
    if sweep.resolve() not in folder.resolve().parents:
        raise ConfigError(f"hydra.sweep.subdir: {folder} is not inside the folder of the sweep, {sweep}")
    return train(Job(int(settings.job.num), words, folders, folder, sweep))


class _WithoutHydra:
    """A stderr without the line in which Hydra announces an exception that has been reported already."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if text.startswith("Error executing job with overrides") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
