"""Checkpoints that all processes of a run write, each its own parts: committed once, by process 0.

Orbax writes what each process has copied (`devices.parts`) into a folder of that process, in the same draft. What
they tell one another goes through a `Channel`, which needs no device, so a thread may save while they train.
Orbax's `Checkpointer` is not used here: its barriers would wait 300 s for a process that could not write.
"""

import contextlib
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import jax

from dltrain.devices.channel import Channel
from dltrain.errors import DiskError
from dltrain.runs import checkpoint
from dltrain.runs.arrays import ARRAYS, MOVES, clear_stray, in_place, synced
from dltrain.runs.files import Files, writing

T = TypeVar("T")


def save_parts(
    folder: Files,
    step: int,
    arrays: Mapping[str, jax.Array],
    meta: Mapping[str, Any],
    about: Mapping[str, Any] | None,
    channel: Channel,
) -> None:
    """Write a checkpoint of arrays on the devices of all processes; each of them has to call this.

    Only process 0 uses `folder`, `meta` and `about`. If the run folder is renamed meanwhile, all begin again.

    Raises:
        DiskError: this process, or another one which is named, could not write; nothing was committed.
    """
    for _ in range(MOVES):
        draft, error = _tried(lambda: _begin(folder, step)) if channel.index == 0 else (None, None)
        begun = {"place": str(draft.resolve()) if draft else "", "why": _words(error)}
        begun = channel.agree(begun, "draft of a checkpoint")
        _raise_if_failed([begun["why"]], error, step)
        if not (place := begun["place"]):
            return
        files, error = _tried(partial(write_own, Path(place), arrays, channel.index))
        written = channel.gather([files, _words(error)], "parts of a checkpoint")
        failed, moved = [why for _, why in written], False
        if draft:
            listed = {name: found for files, _ in written for name, found in (files or {}).items()}
            commit = partial(_commit, folder, draft, step, arrays, listed, meta, about)
            moved, in_the_end = _end(folder, draft, None if any(failed) else commit)
            error = error or in_the_end
        if not channel.agree(moved, "commit of a checkpoint"):
            late = channel.agree(_words(error), "end of a checkpoint")
            _raise_if_failed(failed if any(failed) else [late], error, step)
            return
    raise DiskError("the run folder is renamed again and again: the checkpoint could not be written")


def write_own(draft: Path, arrays: Mapping[str, jax.Array], index: int) -> dict[str, dict[str, Any]]:
    """Write and sync the parts of process `index`, this one; return size and SHA-256 of each of its files."""
    import orbax.checkpoint as ocp
    from etils import epath

    with writing(draft):
        _orbax().save(epath.Path((draft / ARRAYS).resolve()), args=ocp.args.PyTreeSave(dict(arrays)))
        return synced(draft, draft / ARRAYS / f"ocdbt.process_{index}")


def _orbax() -> Any:
    """Return Orbax's handler for arrays of all processes, of which each writes the first copies that it has."""
    import orbax.checkpoint as ocp

    arrays = ocp.type_handlers.ArrayHandler(use_replica_parallel=False, enable_write_sharding_file=False)
    return ocp.PyTreeCheckpointHandler(
        multiprocessing_options=ocp.options.MultiprocessingOptions(primary_host=0),
        type_handler_registry=ocp.type_handlers.create_type_handler_registry((jax.Array, arrays)),
    )


def _begin(folder: Files, step: int) -> Path | None:
    """Make a draft; None if the checkpoint is there already, and intact.

    Its name is new: a process of an earlier start that still runs, because process 0 was killed, may write in the
    draft that it knows.
    """
    if checkpoint.is_there(folder, step):
        return None
    draft = folder.make_new(f"{checkpoint.DRAFT}{step:08d}_{token_hex(4)}")
    (draft / ARRAYS).mkdir()
    return draft


def _commit(
    folder: Files,
    draft: Path,
    step: int,
    arrays: Mapping[str, jax.Array],
    written: Mapping[str, Any],
    meta: Mapping[str, Any],
    about: Mapping[str, Any] | None,
) -> None:
    """Join what all processes have written, and make a checkpoint of it; `written` are their files."""
    from etils import epath

    with writing(folder.path / checkpoint.name_of(step)):
        _orbax().finalize(epath.Path((draft / ARRAYS).resolve()))
        _check_visible(draft, written)
        listed = {**written, **synced(draft, draft, but=written)}
        checkpoint.commit(folder, draft.name, step, arrays, listed, meta, about)


def _end(folder: Files, draft: Path, commit: Callable[[], None] | None) -> tuple[bool, BaseException | None]:
    """Commit a draft, or delete it if a process failed; return whether the folder was renamed, and an error."""
    error = None
    if commit and in_place(folder, draft):
        _, error = _tried(commit)
        if error is None:
            return False, None
    if in_place(folder, draft):
        with contextlib.suppress(DiskError):
            folder.remove_tree(draft.name)
        return False, error
    _, error = _tried(lambda: _clear(folder, draft))
    return error is None, error


def _check_visible(draft: Path, written: Collection[str]) -> None:
    for name in written:
        if not (draft / name).is_file():
            raise DiskError(f"{draft / name}: written by another process, but process 0 does not see it")


def _clear(folder: Files, draft: Path) -> None:
    """Delete a draft in a run folder that was renamed, at both places; raise if the folder is gone."""
    clear_stray(folder, draft)
    folder.make()
    folder.remove_tree(draft.name)


def _tried(do: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """Return what a function returns or raises: the others have to know before it is raised."""
    try:
        return do(), None
    except BaseException as error:
        return None, error


def _words(error: BaseException | None) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__ if error else ""


def _raise_if_failed(reasons: list[str], own: BaseException | None, step: int) -> None:
    """Raise the error of this process, or else that of the first process that has a reason."""
    if own:
        raise own
    for index, why in enumerate(reasons):
        if why:
            raise DiskError(
                f"process {index} of a run of several processes could not write its part of the checkpoint of step "
                f"{step}, which was not committed: {why}"
            )
