"""The run folder of several processes: process 0 writes it, the others `ranks/N.log` and parts of checkpoints.

The others run the same code with a folder of their own, which is deleted at the end. So nothing that writes has to
know how many processes there are.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from dltrain.devices import hosts
from dltrain.runs.folder import RunFolder, claim

RANKS, TOKEN = "ranks", "token"


class Borrowed(RunFolder):
    """The folder of a run that another process writes: it is read, and notes go to the log of this process."""

    def note(self, text: str) -> None:
        """Write to the log of this process."""
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode())


class Scratch(Borrowed):
    """A folder that is written like that of a run, and deleted; messages name the folder of the run."""

    def __init__(self, of: Path, *, trust: tuple[str, ...] = ()) -> None:
        """Make a temporary folder for a run whose folder is `of`."""
        super().__init__(Path(tempfile.mkdtemp(prefix="dltrain-")), trust=trust)
        self._of = of

    @property
    def word(self) -> str:
        """The path of the run's folder, quoted for a shell command."""
        return RunFolder(self._of).word

    def check_disk(self, checkpoint: int) -> None:
        """Do nothing: checkpoints are not written here."""
        del checkpoint

    def release(self) -> None:
        """Delete the folder."""
        super().release()
        shutil.rmtree(self.files.path, ignore_errors=True)


def claim_together(
    wanted: Path | None, *, name: str, overwrite: bool, trust: tuple[str, ...], say: Callable[[str], None]
) -> RunFolder:
    """Let process 0 create and lock the folder of a new run, and return it, or a folder to be deleted."""
    folder = claim(wanted, name=name, overwrite=overwrite, trust=trust) if hosts.leads() else None
    return share(folder, trust=trust, say=say)


def share(folder: RunFolder | None, *, trust: tuple[str, ...], say: Callable[[str], None]) -> RunFolder:
    """Return the folder that this process writes; `folder` is that of the run in process 0, which has locked it.

    Who sees the folder writes its log there. `say` tells the user if somebody does not.
    """
    if hosts.count() == 1:
        assert folder
        return folder
    if folder:
        for rank in range(hosts.count()):
            with (folder.files / RANKS).append(f"{rank}.log"):
                pass
    path, sees = find_together(folder)
    if sees[hosts.index()]:
        hosts.log_into(path / RANKS / f"{hosts.index()}.log")
    own = folder or Scratch(path, trust=trust)
    own.shared = all(sees)
    if folder:
        blind = [rank for rank, seen in enumerate(sees) if not seen]
        say(f"hosts   {hosts.count()} processes; what each of them prints: {path}/{RANKS}/N.log")
        if blind:
            shown = ", ".join(map(str, blind))
            say(
                f"        processes {shown} do not share this file system: process 0 writes everything. To resume "
                f"there, copy {path} to them first, or choose an output_dir on a shared file system"
            )
    return own


def find_together(folder: RunFolder | None) -> tuple[Path, list[bool]]:
    """Return the path of a run folder, which process 0 gives, and which of the processes see it."""
    token = secrets.token_hex(8)
    if folder:
        (folder.files / RANKS).replace_text(TOKEN, token)
    path, token = hosts.agree([str(folder.path.absolute()) if folder else "", token], "run folder")
    found = Path(path, RANKS, TOKEN)
    seen = found.is_file() and found.read_text() == token
    sees = hosts.gather(seen, "shared folder")
    if folder:
        (folder.files / RANKS).remove(TOKEN)
    return Path(path), sees


def all_see(folder: RunFolder | None) -> bool:
    """Tell whether several processes run, and all of them see the folder, which process 0 gives."""
    return hosts.count() > 1 and all(find_together(folder)[1])
