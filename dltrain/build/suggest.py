"""Asks the data which task it is for, before the rest of the config is known."""

from collections.abc import Mapping
from typing import Any

from dltrain.build.data import open_source
from dltrain.errors import ConfigError


def suggest_task(node: Mapping[str, Any], trust: tuple[str, ...]) -> tuple[str, str]:
    """Return the task of a source, and the reason in a few words.

    Raises:
        ConfigError: the source does not know.
        DataError: the data cannot be read.
    """
    source = open_source(node, trust)
    if (found := getattr(source, "suggestion", None)) is None:
        raise ConfigError("task=auto: this data does not decide on a task; choose one, such as task=classification")
    return found
