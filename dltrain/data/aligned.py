"""Align arrays so that JAX shares their memory on CPU devices instead of copying them.

JAX 0.10 and 0.12 share arrays that begin at a multiple of 64 bytes; NumPy seldom allocates such arrays.
"""

import numpy as np

LINE = 64  # bytes


def is_aligned(array: np.ndarray) -> bool:
    """Return whether the array is contiguous and begins at an address from which JAX can share it."""
    return array.flags.c_contiguous and array.ctypes.data % LINE == 0


def aligned(array: np.ndarray) -> np.ndarray:
    """Return the array itself if it is aligned, else an aligned copy."""
    if is_aligned(array):
        return array
    room = np.empty(array.nbytes + LINE, np.uint8)
    first = -room.ctypes.data % LINE
    copy = room[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
