"""Where the profiler writes: into a new folder, whose files move to their place when the recording has ended."""

import contextlib
from dataclasses import replace
from pathlib import Path

from dltrain.callbacks.profile import Profile
from dltrain.runs.files import Files
from dltrain.runs.folder import RunFolder

DRAFT, PLACE = ".recording", "plugins/profile"  # TensorBoard's Profile tab looks for the second


def make_draft(folder: RunFolder) -> Path:
    """Create the folder that the profiler writes to, which it names by its path."""
    return (folder.files / "tensorboard").make_new(DRAFT)


def keep_recording(folder: RunFolder, draft: Path, profile: Profile) -> None:
    """Move what was recorded to its place, and delete the draft."""
    tensorboard = folder.files / "tensorboard"
    if draft.parent != tensorboard.path:  # what the profiler wrote at the old path is not of this folder
        Files(draft.parent).remove_tree(DRAFT)
        for parent in (draft.parent, draft.parent.parent):
            with contextlib.suppress(OSError):  # not empty
                parent.rmdir()
        profile.recorded, profile.problem = None, "the run folder was renamed meanwhile"
    recorded = tensorboard / f"{DRAFT}/{PLACE}"
    for time in recorded.names():
        target = tensorboard / PLACE / time
        for name in (recorded / time).names():
            target.note(name)
            (recorded / time).move(name, target)
            if profile.recorded and profile.recorded.file.name == name:
                profile.recorded = replace(profile.recorded, file=target.path / name)
    tensorboard.remove_tree(DRAFT)
