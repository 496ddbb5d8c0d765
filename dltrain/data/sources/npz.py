"""The headers of the arrays in an `.npz` file, read before anything is unpacked."""

import math
import zipfile
import zlib

import numpy as np

DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, NotImplementedError)
"""What reading a file raises that is not an `.npz` or `.npy` file, is damaged, or is packed by a method of another
program."""


def size_of(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """Return bytes and elements of an array; ValueError unless the file has the bytes that its header declares."""
    with archive.open(entry) as stream:
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read[np.lib.format.read_magic(stream)](stream)
        held, wanted = entry.file_size - stream.tell(), math.prod(shape) * dtype.itemsize
    if held != wanted:
        raise ValueError(f"{entry.filename} has {held} bytes, its header declares {wanted}")
    return held, math.prod(shape)
