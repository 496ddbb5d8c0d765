"""Running a sweep with Hydra: its sweeper makes the combinations, its launcher starts the jobs."""

import contextlib
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dltrain.composition.loader import run_hydra, search_path, translated, version_base
from dltrain.composition.overrides import quote
from dltrain.errors import ConfigError


@dataclass(frozen=True)
class Job:
    """One job of a sweep, in whatever process the launcher started it."""

    number: int
    words: tuple[str, ...]  # its overrides
    folders: tuple[Path, ...]  # of YAML
    folder: Path  # where it must write


class SweepStopped(BaseException):
    """Ends a sweep from inside a job: Ctrl-C and SIGTERM are meant for all of it, not for one job."""

    def __init__(self, code: int) -> None:
        """Keep the exit code."""
        super().__init__(code)
        self.code = code


def launch(words: Sequence[str], folder: Path, folders: tuple[Path, ...], *, train: Callable[[Job], None]) -> None:
    """Run every combination of `words` in numbered folders under `folder`; what a job raises ends its sweep."""
    settings = [f"hydra.sweep.dir={quote(str(folder))}", "hydra.sweep.subdir=${hydra.job.num}"]
    settings += ["hydra.output_subdir=null", "hydra.job.chdir=false"]
    settings += ["hydra/job_logging=none", "hydra/hydra_logging=none", *search_path(folders)]
    quiet = contextlib.redirect_stderr(cast(Any, _WithoutHydra(sys.stderr)))
    try:
        with quiet:
            run_hydra(folders, functools.partial(_task, train), "-m", *words, *settings)
    finally:
        (folder / "multirun.yaml").unlink(missing_ok=True)  # Hydra's; the folder of each job says what it was


def _task(train: Callable[[Job], None], _: Any) -> None:
    """Find out from Hydra which job this is, and train it."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    settings = HydraConfig.get()
    typed: Any = OmegaConf.to_container(settings.overrides, resolve=False)  # unresolved: a secret stays unread
    folders = tuple(Path(s.path) for s in settings.runtime.config_sources if s.schema == "file")
    words = tuple(word.lstrip("+") for word in typed["task"])
    train(Job(int(settings.job.num), words, folders, Path(settings.runtime.output_dir)))


def check_hydra(words: Sequence[str], folders: tuple[Path, ...]) -> None:
    """Refuse a composed `hydra` node that makes Hydra call code, whichever way it came in."""
    import hydra
    from omegaconf import OmegaConf

    with translated(), hydra.initialize_config_dir(str(folders[0]), **version_base()):
        node = hydra.compose("train", [*words, *search_path(folders)], return_hydra_config=True).hydra
        plugins: Any = {n: OmegaConf.to_container(node[n], resolve=True) for n in ("launcher", "sweeper")}
    for name, plugin in plugins.items():
        home = str(plugin["_target_"]).partition(".")[0]
        if home not in ("hydra", "hydra_plugins") or str(plugin).count("_target_") > 1:
            raise ConfigError(f"hydra.{name}: names code of its own; choose one by name: hydra/{name}=...")
    if node.callbacks:
        raise ConfigError(f"hydra.callbacks: {', '.join(node.callbacks)}: dltrain lets Hydra call nothing")


class _WithoutHydra:
    """A stderr without the line in which Hydra announces an exception that has been reported already."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if text.startswith("Error executing job with overrides") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
