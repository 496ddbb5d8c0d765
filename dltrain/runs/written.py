"""The list of the files that a run wrote: it marks the folder, and `overwrite=true` deletes what it lists."""

import contextlib
import os
import stat
from pathlib import Path, PurePosixPath

from dltrain.errors import DiskError
from dltrain.runs.files import Files, link_refusal

MARK = "# The files that dltrain wrote here"
HEAD = f"{MARK}, besides checkpoints: overwrite=true deletes these and no others.\n"
FILES = (
    *("config.yaml", "overrides.yaml", "environment.json", "data.json", "splits.npz", "model.json"),
    *("saved.json", "metrics.jsonl", "metrics.damaged.jsonl", "results.csv", "summary.json", "bad_rows.csv"),
    *("train.log", "written.txt", "report.html", "MODEL_CARD.md"),
)
FOLDERS = ("report", "evaluation", "explain", "nonfinite", "checkpoints", "tensorboard", "ranks")
"""What a run writes at the top of its folder, besides `lock`."""


class Written:
    """The file `written.txt` of a run folder, with a name on each line."""

    name = "written.txt"

    def __init__(self, files: Files) -> None:
        """Keep the folder; nothing is read."""
        self._files = files
        self._names: set[str] | None = None

    def begin(self) -> None:
        """Mark the folder, with an empty list."""
        self._names = {self.name}
        self._files.replace_text(self.name, HEAD)

    def add(self, name: str) -> None:
        """List a file, if the folder is marked."""
        if name == self.name or "\n" in name:
            return
        if self._names is None:
            self._names = self.names()
        if self._names is not None and name not in self._names:
            self._names.add(name)
            with self._files.append(self.name) as file:
                file.write(f"{name}\n")

    def names(self) -> set[str] | None:
        """Return the listed names, each inside the folder; None if this is not the folder of a run."""
        path = self._files.path / self.name
        if not path.is_file() or path.is_symlink():
            return None
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        if not lines or not lines[0].startswith(MARK):
            return None
        found = {line[:-1] for line in lines[1:] if line.endswith("\n")}  # the last one may be cut short
        return {name for name in found if _is_inside(name)} | {self.name}

    def delete(self) -> None:
        """Delete the listed files, the folders that are then empty, and last the list itself."""
        names = self.names() or set()
        for name in sorted(names, key=lambda name: (name == "config.yaml") + 2 * (name == self.name)):
            parent, _, file = name.rpartition("/")
            self._at(parent).remove_file(file)
        inside = {str(parent) for name in names for parent in PurePosixPath(name).parents} - {"."}
        for folder in sorted(inside, key=lambda name: -name.count("/")):
            parent, _, last = folder.rpartition("/")
            self._at(parent).remove_empty(last)

    def _at(self, folder: str) -> Files:
        return self._files / folder if folder else self._files


def refuse_links(folder: Path) -> None:
    """Raise DiskError before a run begins if something of it leads out of the folder, or is not a file."""
    for name in FILES:
        with contextlib.suppress(FileNotFoundError):
            about = os.lstat(folder / name)
            if stat.S_ISLNK(about.st_mode):
                raise DiskError(link_refusal(folder / name, "is a link"))
            if not stat.S_ISREG(about.st_mode):
                raise DiskError(f"{folder / name}: is not a file; delete it")
            if about.st_nlink > 1 and name == "train.log":  # which is written in place
                raise DiskError(link_refusal(folder / name, "is a hard link"))
    for top in (folder / name for name in FOLDERS):
        if top.is_symlink():
            raise DiskError(link_refusal(top, "is a link"))
        if os.path.lexists(top) and not top.is_dir():
            raise DiskError(f"{top}: is not a folder; delete it")
        for place, folders, files in os.walk(top):  # which follows no link
            for found in (Path(place) / name for name in (*folders, *files)):
                if found.is_symlink():
                    raise DiskError(link_refusal(found, "is a link"))


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return str(path) == name and path.parts[0] in (*FILES, *FOLDERS) and ".." not in path.parts
