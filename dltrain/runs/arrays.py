"""The arrays of a checkpoint, written and read by Orbax, which works by path: a folder may be renamed meanwhile."""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Sharding

from dltrain.devices import hosts, memory
from dltrain.devices.mesh import CUT_FROM
from dltrain.devices.parts import own_bytes
from dltrain.errors import CheckpointError, DiskError, DltrainError, MemoryExhausted
from dltrain.runs.files import Files, digest, files_at, sync

ARRAYS = "arrays"  # the folder inside a checkpoint
# Of many runs that end together two write at a time: 32 checkpoints of 16 runs took 1.3 s this way, else 1.6 s.
_WRITING = threading.Semaphore(2)
MOVES = 3  # how often something begins again because the run folder was renamed meanwhile
T = TypeVar("T")


def import_orbax() -> None:
    """Import what writes and reads arrays, which takes 0.3 s, before it is needed."""
    import orbax.checkpoint  # noqa: F401


def write_arrays(files: Files, name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Let Orbax write into a new folder, sync it, and return size and SHA-256 of each file.

    Orbax writes by path: if the folder was renamed meanwhile, it begins again.
    """
    import orbax.checkpoint as ocp  # imported here: takes 0.3 s

    for _ in range(MOVES):
        draft = files.make_new(name)
        try:
            with _WRITING, _orbax() as writer:
                writer.save((draft / ARRAYS).resolve(), args=ocp.args.PyTreeSave(arrays))
            listed = synced(draft, draft)
        except (OSError, ValueError):
            if in_place(files, draft):
                raise
            listed = {}
        if listed and in_place(files, draft):
            return listed
        clear_stray(files, draft)
        files.make()  # raises if the folder is gone, or was renamed inside the run folder
    raise DiskError(f"{files.path} is renamed again and again: the checkpoint could not be written")


def synced(draft: Path, inside: Path, *, but: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Sync what is in a folder of a draft, and return size and SHA-256 of each file, without those of `but`."""
    names = {path: str(path.relative_to(draft)) for path in sorted(inside.rglob("*")) if path.is_file()}
    own = {path: name for path, name in names.items() if name not in but}
    listed = {name: {"size": path.stat().st_size, "sha256": digest(path)} for path, name in own.items()}
    for path in (*own, *(path for path in inside.rglob("*") if path.is_dir())):
        sync(path)
    if inside != draft and inside.is_dir():
        sync(inside)
    return listed


def _orbax() -> Any:
    """Return Orbax's checkpointer for this process alone: it would wait for all, and they do other things."""
    import orbax.checkpoint as ocp

    own = ocp.options.MultiprocessingOptions(primary_host=hosts.index(), active_processes={hosts.index()})
    alone: dict[str, Any] = {} if hosts.count() == 1 else {"multiprocessing_options": own}
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**alone), **alone)


def in_place(files: Files, draft: Path) -> bool:
    """Tell whether a draft is where it was made."""
    with contextlib.suppress(DiskError):
        return files.path == draft.parent and draft.name in files.names()
    return False


def clear_stray(files: Files, draft: Path) -> None:
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


class SavedArrays(Mapping[str, np.ndarray]):
    """The arrays of a checkpoint that has been verified, which are read when they are asked for."""

    def __init__(self, path: Path, described: Mapping[str, Any]) -> None:
        """Read nothing; `described` is name -> type and shape, as in the manifest."""
        self._path, self._described = path, described

    def __getitem__(self, name: str) -> np.ndarray:
        """Read one array completely."""
        return _read(self._path, {name: self._described[name]}, {}, some=True)[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._described)

    def __len__(self) -> int:
        """Count the arrays."""
        return len(self._described)

    def parts(self, wanted: Mapping[str, tuple[tuple[int, ...], Sharding]]) -> dict[str, Any]:
        """Read what the devices of this process need of the arrays in `wanted`: name -> (shape, sharding).

        Small arrays, and those of another shape, are read completely, as NumPy arrays.
        """
        listed = {name: self._described[name] for name in wanted if name in self._described}
        there = {name: tuple(shape) for name, (_, shape) in listed.items()}
        where = {
            name: wanted[name][1]
            for name, shape in there.items()
            if shape == tuple(wanted[name][0]) and np.prod(shape) >= CUT_FROM
        }
        return dict(_read(self._path, listed, where, some=True))


def read_arrays(path: Path, described: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
    """Read the arrays of a checkpoint that has been verified; `described` is name -> type and shape."""
    return _read(path, described, {}, some=False)


def _read(
    path: Path, described: Mapping[str, Any], where: Mapping[str, Sharding], *, some: bool
) -> Mapping[str, Any]:
    """Read arrays as NumPy arrays, or with the sharding in `where`; with `some`, the checkpoint may have others."""
    import orbax.checkpoint as ocp

    how: dict[str, Any] = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in described}
    how |= {name: ocp.ArrayRestoreArgs(sharding=sharding) for name, sharding in where.items()}
    args: dict[str, Any] = {"restore_args": how}
    if some:
        shapes = {name: jax.ShapeDtypeStruct(shape, np.dtype(dtype)) for name, (dtype, shape) in described.items()}
        args |= {"item": shapes, "partial_restore": True}
    with _orbax() as reader:
        try:
            _check_sizes(path, described, reader.metadata((path / ARRAYS).resolve()), where)
            return reader.restore((path / ARRAYS).resolve(), args=ocp.args.PyTreeRestore(**args))
        except (ValueError, KeyError, TypeError, OSError) as error:  # checksums match, but not written by dltrain
            raise CheckpointError(f"checkpoint {path} cannot be read: {str(error).splitlines()[0]}") from error


def _check_sizes(path: Path, listed: Mapping[str, Any], found: Any, where: Mapping[str, Sharding]) -> None:
    """Raise, before reading, if shapes differ from the manifest, or what this process reads does not fit."""
    found = getattr(found.item_metadata, "tree", found.item_metadata) if hasattr(found, "item_metadata") else found
    for name, (_, shape) in listed.items():
        if list(found[name].shape) != shape:
            raise CheckpointError(
                f"checkpoint {path} cannot be read: {name} is {list(found[name].shape)}, its manifest says {shape}"
            )
    size = sum(own_bytes(where.get(name), tuple(found[name].shape), found[name].dtype) for name in listed)
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
