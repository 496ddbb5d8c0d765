"""Writing an exported folder: into a new folder next to it, then one rename; only an export is ever replaced."""

import contextlib
import json
import os
import secrets
from collections.abc import Generator
from pathlib import Path

from dltrain.errors import ConfigError
from dltrain.inference.export import examples, signature, stablehlo, weights
from dltrain.runs.files import Files

CONFIG, MODEL, ONNX, LOAD = "config.yaml", "model.json", "model.onnx", "load.py"
NAMES = (CONFIG, MODEL, ONNX, LOAD, signature.FILE, stablehlo.FILE, weights.FILE, examples.FILE)


def output_path(output: str | Path) -> Path:
    """Return the folder to write: the path as typed, and of a link what it leads to."""
    path = Path(os.path.realpath(Path(output).expanduser()))
    if not path.name or path.name.startswith("."):
        raise ConfigError(f"output={output}: expected the path of a folder to write, such as output=model")
    return path


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise ConfigError unless an export may be written to this path.

    Args:
        path: the folder.
        overwrite: whether an export that is there may be replaced.
    """
    if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return
    if not is_export(path):
        raise ConfigError(f"output={path}: exists, and is not an export, so it is not replaced; choose another")
    strange = sorted(p.name for p in path.iterdir() if p.name not in (*NAMES, "__pycache__"))
    if strange:
        raise ConfigError(
            f"output={path}: has {strange[0]}, which no export wrote; move it, or choose another folder"
        )
    if not overwrite:
        raise ConfigError(f"output={path}: already contains an export; replace it with overwrite=true")


def is_export(path: Path) -> bool:
    """Tell whether a folder was written by `dltrain export`."""
    file = path / signature.FILE
    if not file.is_file() or file.is_symlink():
        return False
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("format") == signature.MARK


@contextlib.contextmanager
def new_folder(path: Path, *, overwrite: bool) -> Generator[Files]:
    """Give a new folder to write into; it takes the place of `path` if nothing fails, else it is deleted.

    Raises:
        ConfigError: there is something else at `path`.
        DiskError: something cannot be written.
    """
    check_free(path, overwrite=overwrite)
    parent, made = Files(path.parent), not path.parent.exists()
    draft, old = (f".{path.name}.{secrets.token_hex(4)}.{word}" for word in ("new", "old"))
    try:
        parent.make_new(draft)
        yield parent / draft
        (parent / draft).sync()
        check_free(path, overwrite=overwrite)
        if os.path.lexists(path):
            parent.rename(path.name, old)
        parent.rename(draft, path.name)
        parent.sync()
        parent.remove_tree(old)
    except BaseException:
        parent.remove_tree(draft)
        if not os.path.lexists(path) and (path.parent / old).is_dir():
            parent.rename(old, path.name)
        if made:
            Files(path.parent.parent).remove_empty(path.parent.name)
        raise
