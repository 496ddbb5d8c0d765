"""Composes YAML with Hydra: search path, version, and Hydra's exceptions as ConfigError."""

import contextlib
import copy
import os
import re
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from dltrain.composition.overrides import quote
from dltrain.config.folders import yaml_fault
from dltrain.errors import ConfigError

OWN_SWEEPER = "dltrain"
"""The name of the sweeper that `register_sweeper` registers."""

ONE_AT_A_TIME = threading.RLock()
"""Held while Hydra composes: it keeps its state in the process, and several threads may open runs."""


COMPOSED: dict[tuple[Any, ...], Any] = {}
"""The choices that were composed last, and what came of them: values are set afterwards, and differ more often."""
MOST_COMPOSED = 64


def make_loader(folders: tuple[Path, ...]) -> Callable[[str, Sequence[str]], Any]:
    """Return a function that composes a YAML of `folders` with Hydra."""

    def load(name: str, words: Sequence[str]) -> Any:
        values = [word for word in words if word.startswith("++")]  # which set a key whether or not it exists
        choices = [word for word in words if word not in values]
        with ONE_AT_A_TIME, translated(words):
            key = (folders, _stamp(folders), name, *choices)
            if key not in COMPOSED:
                while len(COMPOSED) >= MOST_COMPOSED:
                    del COMPOSED[next(iter(COMPOSED))]
                COMPOSED[key] = _compose(folders, name, choices)
            config = copy.deepcopy(COMPOSED[key])
            _set_values(config, values)
        return config

    return load


def _compose(folders: tuple[Path, ...], name: str, words: Sequence[str]) -> Any:
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    inside = GlobalHydra.instance().is_initialized()  # in a job of a sweep, with the same folders
    start = contextlib.nullcontext() if inside else hydra.initialize_config_dir(str(folders[0]), **version_base())
    with start:
        return hydra.compose(name, [*words, *search_path(folders)])


def _set_values(config: Any, words: Sequence[str]) -> None:
    """Set keys as Hydra does: words are read by its grammar, and a mapping is merged."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import ConfigCompositionException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for override in OverridesParser.create().parse_overrides(list(words)):
        try:
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True, force_add=True)
        except OmegaConfBaseException as error:
            raise ConfigCompositionException(f"Error merging override {override.input_line}") from error


def _stamp(folders: tuple[Path, ...]) -> tuple[float, ...]:
    """Return when the newest file or folder of YAML in each folder was changed."""
    return tuple(
        max((Path(place, name).stat().st_mtime for place, _, files in os.walk(folder) for name in ("", *files)))
        for folder in folders
    )


def search_path(folders: tuple[Path, ...]) -> list[str]:
    """Return the override that adds the user's folders to Hydra's search path."""
    more = ",".join(quote(f"file://{folder}") for folder in folders[1:])
    return [f"hydra.searchpath=[{more}]"] if more else []


def version_base() -> dict[str, Any]:
    """Ask for Hydra 1.3's behaviour; 1.4 has no other and warns about the argument."""
    import hydra

    return {"version_base": "1.3"} if tuple(map(int, hydra.__version__.split(".")[:2])) < (1, 4) else {}


def register_sweeper() -> None:
    """Let `hydra/sweeper=dltrain` name dltrain's own way through a sweep, which `sweep` describes.

    Combinations of a grid are those of Hydra's sweeper; a search does not come here.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeperConf
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(group="hydra/sweeper", name=OWN_SWEEPER, node=BasicSweeperConf, provider="dltrain")


def run_hydra(folders: tuple[Path, ...], task: Callable[[Any], Any], *arguments: str) -> None:
    """Run `task` as a Hydra application on train.yaml, as if `arguments` had been typed."""
    import hydra

    register_sweeper()
    with translated(), _arguments(*arguments):
        hydra.main(config_path=str(folders[0]), config_name="train", **version_base())(task)()


@contextlib.contextmanager
def translated(words: Sequence[str] = ()) -> Generator[None]:
    """Turn Hydra's and OmegaConf's exceptions into ConfigError, and keep Hydra from printing and exiting.

    `words` are the overrides that are composed, for messages that would name none.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except YAMLError as error:
        raise ConfigError(
            yaml_fault(getattr(getattr(error, "problem_mark", None), "name", "a YAML file"), error)
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_worded(error)) from error
    except IndexError as error:  # of OmegaConf, for an item that a list does not have
        raise ConfigError(no_item([word.partition("=")[0] for word in words])) from error
    except RecursionError as error:
        raise ConfigError("the defaults lists of these YAML files lead back to themselves") from error
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)  # another thread may have been here
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


def no_item(keys: Sequence[str]) -> str:
    """Say that a list does not have the item that one of these keys names."""
    key = next((key.lstrip("+~") for key in keys if re.search(r"[.\[]\d+", key)), "a key of a list")
    return f"{key}: the list has no such item; give the whole list: {re.split(r'[.][0-9]', key)[0]}=[...]"


def _worded(error: Exception) -> str:
    override = re.match(r"Error merging override \+*([^\n]+)", str(error))
    text = _text_of(error)
    if override and "list index out of range" in text:
        return no_item([override[1]])
    return f"{override[1]}: {text}" if override and override[1].partition("=")[0] not in text else text


def _text_of(error: Exception) -> str:
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    if not lines:
        return "the config cannot be composed"
    text = " ".join(lines[:2] if lines[0].endswith(":") else lines[:1])
    text = re.sub(r"^In '([^']+)':\s*", r"\1.yaml: ", text)
    text = re.sub(r".*Could not find 'hydra/(\w+)/(\w+)'.*", r"hydra/\1=\2: no such \1 is installed", text)
    return text.replace("Hydra", "dltrain")


@contextlib.contextmanager
def _arguments(*words: str) -> Generator[None]:
    before = sys.argv
    sys.argv = ["dltrain", *words]
    try:
        yield
    finally:
        sys.argv = before
