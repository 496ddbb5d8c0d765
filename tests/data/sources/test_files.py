"""A path that is not a regular file is refused at once: opening a FIFO blocks, and a device never ends."""

import os
import re
import shutil
import socket
import tempfile

import pytest

from dltrain.data.sources import files
from dltrain.data.sources.characters import Characters
from dltrain.data.sources.pairs import from_file
from dltrain.data.sources.sequences import load_sequences
from dltrain.errors import DataError

READERS = [Characters, from_file, load_sequences]

pytestmark = pytest.mark.timeout(10)  # nobody ever writes to these


@pytest.fixture
def odd(tmp_path):
    """Return paths that are not regular files -> their name in messages."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    short = tempfile.mkdtemp(prefix="dlt")  # a socket's path has room for some hundred letters
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/socket")
        yield {
            tmp_path / "fifo": "a FIFO",
            tmp_path / "link": "a FIFO",
            "/dev/zero": "a device",
            f"{short}/socket": "a socket",
            tmp_path: "a folder",
        }
    shutil.rmtree(short)


@pytest.mark.parametrize("read", READERS)
def test_a_path_that_is_not_a_regular_file_is_refused_before_it_is_opened(read, odd):
    for path, kind in odd.items():
        message = rf"{re.escape(str(path))} \(data\.path\): is {kind}.*; expected a regular file: copy"
        with pytest.raises(DataError, match=message):
            read(str(path))


@pytest.mark.parametrize("read", READERS[:2])
def test_a_text_larger_than_the_limit_is_refused(read, tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(files.LARGEST + 1)  # a hole: it takes no room
    with pytest.raises(DataError, match=f"{files.LARGEST + 1} bytes, expected at most {files.LARGEST}"):
        read(str(tmp_path / "large"))


@pytest.mark.parametrize(
    "words",
    [
        ("data=characters", "model=lstm", "data.path=fifo"),
        ("data=pairs", "model=seq2seq", "data.path=fifo"),
        ("data=sequences", "model=lstm", "data.path=fifo"),
        ("data=mnist", "data.root=folder"),
    ],
)
def test_a_command_that_is_given_a_fifo_ends_with_3(dltrain, tmp_path, words):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder/train-images-idx3-ubyte.gz")
    result = dltrain(*words, "output_dir=run", cwd=tmp_path)
    assert result.code == 3 and ("is a FIFO" in result.err or "lacks train-images-idx3-ubyte.gz" in result.err), (
        result.err
    )
    assert not (tmp_path / "run").exists()
