"""The arrays of a checkpoint, written and read by Orbax, which works by path: a folder may be renamed meanwhile."""

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dltrain.devices import hosts, memory
from dltrain.errors import CheckpointError, DiskError, DltrainError, MemoryExhausted
from dltrain.runs.files import Files, digest, files_at, sync

ARRAYS = "arrays"  # the folder inside a checkpoint
MOVES = 3  # how often something begins again because the run folder was renamed meanwhile
T = TypeVar("T")


def write_arrays(files: Files, name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Let Orbax write into a new folder, sync it, and return size and SHA-256 of each file.

    Orbax writes by path: if the folder was renamed meanwhile, it begins again.
    """
    import orbax.checkpoint as ocp  # imported here: takes 0.4 s

    for _ in range(MOVES):
        draft = files.make_new(name)
        try:
            with _orbax() as writer:
                writer.save((draft / ARRAYS).resolve(), args=ocp.args.PyTreeSave(arrays))
            found = sorted(p for p in draft.rglob("*") if p.is_file())
            listed = {str(p.relative_to(draft)): {"size": p.stat().st_size, "sha256": digest(p)} for p in found}
            for path in (*found, *(p for p in draft.rglob("*") if p.is_dir())):
                sync(path)
        except (OSError, ValueError):
            if _in_place(files, draft):
                raise
            listed = {}
        if listed and _in_place(files, draft):
            return listed
        _clear_stray(files, draft)
        files.make()  # raises if the folder is gone, or was renamed inside the run folder
    raise DiskError(f"{files.path} is renamed again and again: the checkpoint could not be written")


def _orbax() -> Any:
    """Return Orbax's checkpointer for this process alone: it would wait for all, and they do other things."""
    import orbax.checkpoint as ocp

    own = ocp.options.MultiprocessingOptions(primary_host=hosts.index(), active_processes={hosts.index()})
    alone: dict[str, Any] = {} if hosts.count() == 1 else {"multiprocessing_options": own}
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**alone), **alone)


def _in_place(files: Files, draft: Path) -> bool:
    """Tell whether a draft is where it was made."""
    with contextlib.suppress(DiskError):
        return files.path == draft.parent and draft.name in files.names()
    return False


def _clear_stray(files: Files, draft: Path) -> None:
    """Delete what Orbax wrote at the old path of a renamed folder: the draft, and the folders made for it."""
    own = False
    with contextlib.suppress(DiskError):
        own = files.path == draft.parent
    if not own and (draft.parent.parent / "lock").exists():  # another run is there by now
        return
    files_at(draft.parent).remove_tree(draft.name)
    for folder in (draft.parent, draft.parent.parent):
        with contextlib.suppress(OSError):  # not empty: it is somebody else's
            folder.rmdir()


def read_arrays(path: Path, described: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
    """Read the arrays of a checkpoint that has been verified; `described` is name -> type and shape."""
    import orbax.checkpoint as ocp

    as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in described}
    with _orbax() as reader:
        try:
            _check_sizes(path, described, reader.metadata((path / ARRAYS).resolve()))
            return reader.restore((path / ARRAYS).resolve(), args=ocp.args.PyTreeRestore(restore_args=as_numpy))
        except (ValueError, KeyError, TypeError, OSError) as error:  # checksums match, but not written by dltrain
            raise CheckpointError(f"checkpoint {path} cannot be read: {str(error).splitlines()[0]}") from error


def _check_sizes(path: Path, listed: Mapping[str, Any], found: Any) -> None:
    """Raise, before reading, if shapes differ from the manifest or the arrays do not fit into memory."""
    found = getattr(found.item_metadata, "tree", found.item_metadata) if hasattr(found, "item_metadata") else found
    for name, (_, shape) in listed.items():
        if list(found[name].shape) != shape:
            raise CheckpointError(
                f"checkpoint {path} cannot be read: {name} is {list(found[name].shape)}, its manifest says {shape}"
            )
    size = sum(math.prod(array.shape) * np.dtype(array.dtype).itemsize for array in found.values())
    if size > (room := memory.host_room()).bytes:
        raise MemoryExhausted(f"checkpoint {path} has {memory.shown(size)} of arrays, and there are {room}")


def steadily(files: Files, read: Callable[[Path], T]) -> T:
    """Call `read` with the path of a folder, again if that was renamed meanwhile."""
    for _ in range(MOVES):
        path = files.path
        try:
            found = read(path)
        except (OSError, DltrainError):
            if files.path == path:
                raise
            continue
        if files.path == path:
            return found
    raise DiskError(f"{files.path} is renamed again and again: it could not be read")
