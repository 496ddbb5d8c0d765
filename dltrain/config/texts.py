"""Text as it was written, where YAML or Hydra's grammar reads a number: `name: 1.10` is not 1.1.

What is typed for dltrain's own keys is read as text at once (`dltrain.composition.overrides`). This module is for
keys in YAML files; `checks.check_nodes` does it for arguments of parts, whose annotations need an import.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from dltrain.config.checks import Origin
from dltrain.config.schema import find_key


def kept_texts(written: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """Return the text, or list of texts, of each of dltrain's own keys for text that was read as another type.

    Args:
        written: the config with interpolations as written.
        origin: where its keys came from.
    """
    wrong = ((path, value) for path, value in _leaves(written, "") if _misread(value))
    texts = {path: origin.text_of(path) for path, _ in wrong if (key := find_key(path)) and key.kind.text}
    return {path: text for path, text in texts.items() if text is not None}


def _misread(value: Any) -> bool:
    return any(isinstance(item, int | float) for item in (value if isinstance(value, list) else [value]))


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
