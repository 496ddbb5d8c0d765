"""Checkpoints: Orbax writes and reads the arrays; commit, manifest and pruning are done here.

The commit is hand-written, since Orbax neither syncs files nor records checksums. The order on disk: the arrays in
a temporary folder next to the final name, a sync of every file, the manifest (size and SHA-256 of each file, and
what the run was) and its SHA-256 last, then the rename, then a sync of the parent. A folder without a matching
manifest is not a checkpoint.
"""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dltrain.devices import memory
from dltrain.errors import CheckpointError, MemoryExhausted
from dltrain.runs.files import replace_json, replace_text, sync, writing

NAME = re.compile(r"step_(\d{8,})")
MANIFEST = "manifest.json"
SEAL = "manifest.json.sha256"


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
    folder: Path,
    step: int,
    leaves: Mapping[str, Any],
    meta: Mapping[str, Any],
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint of these named arrays under `folder` and return its path.

    `meta` is needed to resume; `about` describes the run (`versions`, `config`, `data`).
    """
    import orbax.checkpoint as ocp  # imported here: takes 0.4 s

    final = folder / name_of(step)
    if final.exists() and not problems(final):
        return final
    with writing(final):
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".writing_{step:08d}"
        for leftover in (draft, final):
            shutil.rmtree(leftover, ignore_errors=True)
        draft.mkdir()
        arrays = {name: np.asarray(value) for name, value in jax.device_get(dict(leaves)).items()}
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as writer:
            writer.save((draft / "arrays").resolve(), args=ocp.args.PyTreeSave(arrays))
        files = sorted(p for p in draft.rglob("*") if p.is_file())
        listed = {str(p.relative_to(draft)): {"size": p.stat().st_size, "sha256": _digest(p)} for p in files}
        for path in (*files, *(p for p in draft.rglob("*") if p.is_dir())):
            sync(path)
        shapes = {name: [str(value.dtype), list(value.shape)] for name, value in arrays.items()}
        described = {"about": dict(about or {}), "meta": dict(meta), "arrays": shapes, "files": listed}
        replace_json(draft / MANIFEST, {"step": step, **described})
        replace_text(draft / SEAL, _digest(draft / MANIFEST))
        draft.rename(final)
        sync(folder)
    return final


def steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints under `folder`, oldest first, without verifying them."""
    if not folder.is_dir():
        return []
    names = (NAME.fullmatch(p.name) for p in folder.iterdir() if p.is_dir())
    return sorted(int(m[1]) for m in names if m)


def name_of(step: int) -> str:
    """Return the name of the folder of a checkpoint."""
    return f"step_{step:08d}"


def leftovers(folder: Path) -> list[Path]:
    """Return the paths in `folder` that are not checkpoints: unfinished ones, and damaged ones moved aside."""
    if not folder.is_dir():
        return []
    there = {folder / name_of(step) for step in steps(folder)}
    return sorted(path for path in folder.iterdir() if path not in there)


def clear_drafts(folder: Path) -> None:
    """Delete unfinished checkpoints of a dead run; only for the process that holds the lock of the run."""
    for path in leftovers(folder):
        if path.name.startswith(".writing_"):
            shutil.rmtree(path, ignore_errors=True)


def problems(path: Path) -> list[str]:
    """Return what is wrong with a checkpoint: [] if every file matches the manifest."""
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
    if seal != _digest(path / MANIFEST):
        found.append(f"{MANIFEST} or {SEAL} was altered (SHA-256 differs)")
    if path.name != name_of(step):
        found.append(f"{MANIFEST} is of step {step}")
    root = path.resolve()
    for name, (size, digest) in listed.items():
        file = (path / name).resolve()
        if not file.is_relative_to(root):
            found.append(f"{name} points outside the folder")
        elif not file.is_file():
            found.append(f"{name} is missing")
        elif file.stat().st_size != size:
            found.append(f"{name} has {file.stat().st_size} bytes, expected {size}")
        elif _digest(file) != digest:
            found.append(f"{name} was altered (SHA-256 differs)")
    return found


def load(folder: Path, step: int) -> Checkpoint:
    """Verify and read one checkpoint."""
    import orbax.checkpoint as ocp

    path = folder / name_of(step)
    if wrong := problems(path):
        raise CheckpointError(f"checkpoint {path} is damaged: {'; '.join(wrong[:3])}")
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in manifest["arrays"]}
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        try:
            _check_sizes(path, manifest["arrays"], reader.metadata((path / "arrays").resolve()))
            leaves = reader.restore((path / "arrays").resolve(), args=ocp.args.PyTreeRestore(restore_args=as_numpy))
        except (ValueError, KeyError, TypeError, OSError) as error:  # checksums match, but not written by dltrain
            raise CheckpointError(f"checkpoint {path} cannot be read: {str(error).splitlines()[0]}") from error
    return Checkpoint(step, leaves, manifest["meta"], manifest.get("about", {}))


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


def is_whole(folder: Path, step: int, *, warn: Callable[[str], None]) -> bool:
    """Verify a checkpoint; a damaged one is moved aside with a warning (`warn`)."""
    path = folder / name_of(step)
    if not (wrong := problems(path)):
        return True
    if path.exists():
        aside = path.with_name(f"damaged_{path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        warn(f"checkpoint {path.name} is damaged ({wrong[0]}): moved to {aside.name}")
    return False


def load_last(folder: Path, *, warn: Callable[[str], None]) -> Checkpoint:
    """Read the newest intact checkpoint; damaged ones are moved aside with a warning (`warn`)."""
    for step in reversed(steps(folder)):
        if is_whole(folder, step, warn=warn):
            return load(folder, step)
    raise CheckpointError(f"{folder} has no usable checkpoint; training was not restarted")


def prune(
    folder: Path, keep: Collection[int], *, spared: Collection[int] = (), warn: Callable[[str], None]
) -> None:
    """Delete checkpoints of steps that are neither in `keep` nor `spared`, if the newest in `keep` is intact.

    Other damaged checkpoints in `keep` are moved aside with a warning (`warn`).
    """
    whole = {step: is_whole(folder, step, warn=warn) for step in keep}
    if not whole[max(keep)]:
        raise CheckpointError(f"checkpoint {folder / name_of(max(keep))} is damaged, although it was just written")
    for step in steps(folder):
        if step not in keep and step not in spared:
            shutil.rmtree(folder / name_of(step))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
