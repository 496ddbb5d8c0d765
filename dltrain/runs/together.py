"""The run folder of several processes: process 0 writes it, the others only `ranks/N.log`, if they can.

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
    token, path = secrets.token_hex(8), str(folder.path.absolute()) if folder else ""
    if folder:
        ranks = folder.files / RANKS
        for rank in range(hosts.count()):
            with ranks.append(f"{rank}.log"):
                pass
        ranks.replace_text(TOKEN, token)
    path, token = hosts.agree([path, token], "run folder")
    ranks_path = Path(path, RANKS)
    found = ranks_path.joinpath(TOKEN)
    seen = found.is_file() and found.read_text() == token
    if seen:
        hosts.log_into(ranks_path / f"{hosts.index()}.log")
    blind = [rank for rank, sees in enumerate(hosts.gather(seen, "shared folder")) if not sees]
    if folder:
        (folder.files / RANKS).remove(TOKEN)
        say(f"hosts   {hosts.count()} processes; what each of them prints: {path}/{RANKS}/N.log")
        if blind:
            shown = ", ".join(map(str, blind))
            say(
                f"        processes {shown} do not share this file system: process 0 writes everything. To resume "
                f"there, copy {path} to them first, or choose an output_dir on a shared file system"
            )
        return folder
    return Scratch(Path(path), trust=trust)
