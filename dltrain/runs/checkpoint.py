"""Checkpoints: Orbax writes and reads the arrays; commit, manifest and pruning are done here.

The commit is hand-written, since Orbax neither syncs files nor records checksums. The order on disk: the arrays in
a temporary folder next to the final name, a sync of every file, the manifest (size and SHA-256 of each file, and
what the run was) and its SHA-256 last, then the rename, then a sync of the parent. A folder without a matching
manifest is not a checkpoint.

Only the process that holds the lock of a run renames or deletes a checkpoint; it says so with `mend`. Others may
read at any time: a reader keeps a shared lock on the manifest, and a checkpoint with such a lock is pruned later.
What is pruned is renamed first. If a checkpoint vanishes all the same, the reader lists them again.

The file is a little over 300 lines because whoever reads, commits and prunes has to agree on these rules.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.errors import CheckpointError, DiskError
from dltrain.runs.arrays import ARRAYS, SavedArrays, read_arrays, steadily, write_arrays
from dltrain.runs.files import Files, digest, files_at, writing
from dltrain.runs.readers import kept

NAME = re.compile(r"step_(\d{8,})")
MANIFEST = "manifest.json"
SEAL = "manifest.json.sha256"
DRAFT, PRUNED, DAMAGED = ".writing_", ".deleting_", "damaged_"  # the beginnings of names that are no checkpoints
KEPT = "kept_"  # of what is left of a pruned checkpoint because somebody else put files there
PATIENCE = 30.0  # seconds in which a reader lists checkpoints again that vanish while they are read
PAUSE = 0.01  # seconds before checkpoints are listed again
LISTINGS = 5  # without a checkpoint, until there is none: one may be renamed while a folder is listed


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: the named arrays of a state, and the metadata saved with them."""

    step: int
    leaves: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]
    about: Mapping[str, Any] = field(
        default_factory=dict
    )  # versions, config, data; empty if written by an older dltrain


def save(
    folder: Path | Files,
    step: int,
    leaves: Mapping[str, Any],
    meta: Mapping[str, Any],
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint of these named arrays under `folder` and return its path.

    `meta` is needed to resume; `about` describes the run (`versions`, `config`, `data`).
    """
    files, name = files_at(folder), name_of(step)
    final = files.path / name
    if is_there(files, step):
        return final
    arrays = {leaf: np.asarray(value) for leaf, value in leaves.items()}
    with writing(final):
        draft = f"{DRAFT}{step:08d}"
        commit(files, draft, step, arrays, write_arrays(files, draft, arrays), meta, about)
    return files.path / name


def is_there(files: Files, step: int) -> bool:
    """Tell whether a checkpoint of this step is there already, and intact."""
    name = name_of(step)
    return (files.path / name).exists() and not steadily(files, lambda path: problems(path / name))


def commit(
    files: Files,
    draft: str,
    step: int,
    arrays: Mapping[str, Any],
    listed: Mapping[str, Any],
    meta: Mapping[str, Any],
    about: Mapping[str, Any] | None,
) -> None:
    """Make a checkpoint of a draft whose files are written and synced; `listed` has size and SHA-256 of each."""
    shapes = {leaf: [str(value.dtype), list(value.shape)] for leaf, value in arrays.items()}
    described = {"about": dict(about or {}), "meta": dict(meta), "arrays": shapes, "files": dict(listed)}
    manifest = (files / draft).replace_json(MANIFEST, {"step": step, **described})
    (files / draft).replace_text(SEAL, hashlib.sha256(manifest).hexdigest())
    _delete(files, name_of(step), forced=True)  # a damaged one
    files.rename(draft, name_of(step))
    files.sync()


def steps(folder: Path | Files) -> list[int]:
    """Return the steps of the checkpoints under `folder`, oldest first, without verifying them."""
    if isinstance(folder, Files) and folder.held:  # which finds them also while it is renamed
        names = folder.names()
    elif (path := Path(folder)).is_dir():
        names = [p.name for p in path.iterdir() if p.is_dir()]
    else:
        names = []
    return sorted(int(found[1]) for name in names if (found := NAME.fullmatch(name)))


def name_of(step: int) -> str:
    """Return the name of the folder of a checkpoint."""
    return f"step_{step:08d}"


def leftovers(folder: Path) -> list[Path]:
    """Return the paths in `folder` that are not checkpoints: unfinished ones, and damaged ones moved aside."""
    if not folder.is_dir():
        return []
    there = {folder / name_of(step) for step in steps(folder)}
    return sorted(p for p in folder.iterdir() if p not in there and not p.name.startswith(PRUNED))


def clear_drafts(folder: Path | Files) -> None:
    """Delete what a dead run left unfinished; only for the process that holds the lock of the run."""
    files = files_at(folder)
    for name in files.names():
        if name.startswith(DRAFT):
            files.remove_tree(name)
        elif name.startswith(PRUNED):
            _delete(files, name, forced=True)


def clear(folder: Path | Files, *, after: int = -1) -> None:
    """Delete every checkpoint, damaged or unfinished ones too, but no other file; only those `after` a step."""
    files = files_at(folder)
    clear_drafts(files)
    for name in files.names():
        if (found := NAME.fullmatch(name.removeprefix(DAMAGED))) and int(found[1]) > after:
            _delete(files, name, forced=True)


def problems(path: Path, *, part: int = 0, parts: int = 1) -> list[str]:
    """Return what is wrong with a checkpoint: [] if every file matches the manifest.

    Of its files only every `parts`-th is read, beginning with the one of number `part`, if others read the rest.
    """
    for name in (MANIFEST, SEAL):  # to read a FIFO would wait for ever
        if (path / name).exists() and not (path / name).is_file():
            return [f"{name} is not a file"]
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        listed = {name: (f["size"], f["sha256"]) for name, f in manifest["files"].items()}
        step = int(manifest["step"])
        dict(manifest["meta"]), dict(manifest["arrays"]), dict(manifest.get("about", {}).get("versions", {}))
        seal = (path / SEAL).read_bytes().decode()
    except FileNotFoundError as error:
        return [f"{Path(error.filename).name} is missing"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{MANIFEST} cannot be read ({error})"]
    found = []
    if seal != digest(path / MANIFEST):
        found.append(f"{MANIFEST} or {SEAL} was altered (SHA-256 differs)")
    if path.name != name_of(step):
        found.append(f"{MANIFEST} is of step {step}")
    root = path.resolve()
    own = list(listed.items()) if parts == 1 else sorted(listed.items(), key=lambda item: -item[1][0])[part::parts]
    for name, (size, sha256) in own:
        file = Path(os.path.realpath(path / name))  # a link to itself stays as it is, and is not a file
        if not file.is_relative_to(root):
            found.append(f"{name} points outside the folder")
        elif not file.is_file():
            found.append(f"{name} is missing")
        elif file.stat().st_size != size:
            found.append(f"{name} has {file.stat().st_size} bytes, expected {size}")
        elif digest(file) != sha256:
            found.append(f"{name} was altered (SHA-256 differs)")
    return found


def read_about(path: Path) -> Mapping[str, Any]:
    """Return the description in the manifest of an intact checkpoint."""
    return json.loads((path / MANIFEST).read_text(encoding="utf-8")).get("about", {})


def load(folder: Path | Files, step: int) -> Checkpoint:
    """Verify and read one checkpoint."""

    def verified(place: Path) -> Checkpoint:
        path = place / name_of(step)
        with kept(path / MANIFEST):
            if wrong := problems(path):
                raise CheckpointError(f"checkpoint {path} is damaged: {'; '.join(wrong[:3])}")
            return _read(path, step)

    return steadily(files_at(folder), verified)


def opened(path: Path, step: int) -> Checkpoint:
    """Open a checkpoint that has been verified; its arrays are read when they are asked for."""
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    return Checkpoint(step, SavedArrays(path, manifest["arrays"]), manifest["meta"], manifest.get("about", {}))


def _read(path: Path, step: int) -> Checkpoint:
    """Read a checkpoint that has been verified."""
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    leaves = read_arrays(path, manifest["arrays"])
    return Checkpoint(step, leaves, manifest["meta"], manifest.get("about", {}))


def is_whole(folder: Path | Files, step: int, *, warn: Callable[[str], None], mend: bool = False) -> bool:
    """Verify a checkpoint, and warn (`warn`) if it is damaged; with `mend` it is then moved aside."""
    files, name = files_at(folder), name_of(step)
    if not (wrong := steadily(files, lambda path: problems(path / name))):
        return True
    if (files.path / name).exists():
        report_damage(files, step, wrong[0], warn=warn, mend=mend)
    return False


def report_damage(files: Files, step: int, why: str, *, warn: Callable[[str], None], mend: bool) -> None:
    """Warn about a damaged checkpoint, which `mend` moves aside."""
    name = name_of(step)
    if mend:
        files.remove_tree(f"{DAMAGED}{name}")
        files.rename(name, f"{DAMAGED}{name}")
    warn(f"checkpoint {name} is damaged ({why}): " + (f"moved to {DAMAGED}{name}" if mend else "it is not used"))


def inspect_all(folder: Path) -> dict[int, list[str]]:
    """Return step -> problems of each checkpoint, without those that a training run deletes meanwhile."""
    for _ in range(LISTINGS):
        found: dict[int, list[str]] = {}
        for step in steps(folder):
            path = folder / name_of(step)
            with kept(path / MANIFEST) as there:
                wrong = problems(path) if there else []
                if there and path.is_dir():
                    found[step] = wrong
        if found or not folder.is_dir():
            break
        time.sleep(PAUSE)
    return found


def load_last(
    folder: Path | Files,
    *,
    warn: Callable[[str], None],
    mend: bool = False,
    read: Callable[[Path, int], Checkpoint] = _read,
) -> Checkpoint:
    """Read the newest intact checkpoint, and warn (`warn`) about newer ones that are damaged.

    With `mend`, which is for the process that holds the lock of the run, damaged ones are moved aside. `read` may
    be `opened`.
    """
    damaged: set[int] = set()
    until = time.monotonic() + PATIENCE
    empty = 0
    while time.monotonic() < until and empty < LISTINGS:
        found = [step for step in steps(folder) if step not in damaged]
        if not found:
            if not Path(folder).is_dir() or damaged:
                break
            empty += 1
            time.sleep(PAUSE)
            continue
        empty, path = 0, Path(folder) / name_of(found[-1])
        with kept(path / MANIFEST) as there:
            wrong = problems(path) if there else []
            if there and not wrong:
                return read(path, found[-1])
            if path.is_dir() and there:
                report_damage(files_at(folder), found[-1], wrong[0], warn=warn, mend=mend)
                damaged.add(found[-1])
            else:
                time.sleep(PAUSE / 10)
    raise CheckpointError(f"{Path(folder)} has no usable checkpoint; training was not restarted")


def load_if_whole(
    folder: Path | Files, step: int, *, warn: Callable[[str], None], mend: bool = False
) -> Checkpoint | None:
    """Verify and read one checkpoint; None if it is damaged, of which `warn` is told, or not there."""
    path = Path(folder) / name_of(step)
    with kept(path / MANIFEST) as there:
        return _read(path, step) if there and is_whole(folder, step, warn=warn, mend=mend) else None


def prune(
    folder: Path | Files, keep: Collection[int], *, spared: Collection[int] = (), warn: Callable[[str], None]
) -> None:
    """Delete checkpoints of steps that are neither in `keep` nor `spared`, if the newest in `keep` is intact.

    Other damaged checkpoints in `keep` are moved aside with a warning (`warn`). One that is being read stays until
    the next time.
    """
    whole = {step: is_whole(folder, step, warn=warn, mend=True) for step in keep}
    if not whole[max(keep)]:
        raise CheckpointError(
            f"checkpoint {Path(folder) / name_of(max(keep))} is damaged, although it was just written"
        )
    files = files_at(folder)
    for step in steps(folder):
        if step not in keep and step not in spared:
            _delete(files, name_of(step))
    for name in files.names():
        if name.startswith(PRUNED):  # of an earlier process that was killed here
            _delete(files, name)


def _delete(files: Files, name: str, *, forced: bool = False) -> None:
    """Delete a checkpoint if nobody reads it, or `forced`: first its name, then its files; those of others stay."""
    if name not in files.names():
        return
    with kept(files.path / name / MANIFEST, alone=True) as alone:
        if not (alone or forced):
            return
        gone = name if name.startswith(PRUNED) else f"{PRUNED}{name}"
        if gone != name:
            files.remove_tree(gone)
            files.rename(name, gone)
    inside = files / gone
    for own in (ARRAYS, MANIFEST, SEAL):
        inside.remove_tree(own)
    if not files.remove_empty(gone):  # it holds files of somebody else
        with contextlib.suppress(DiskError):
            files.rename(gone, f"{KEPT}{gone.removeprefix(PRUNED)}")
