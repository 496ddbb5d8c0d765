"""Arrays that jax takes as they lie where the device is a processor; it copies those that begin elsewhere.

jax 0.10 and 0.12 do so with arrays that begin at a multiple of 64 bytes, which NumPy's own seldom do.
"""

import numpy as np

LINE = 64  # bytes


def is_aligned(array: np.ndarray) -> bool:
    """Tell whether the array lies in one piece, and begins where jax can take it."""
    return array.flags.c_contiguous and array.ctypes.data % LINE == 0


def aligned(array: np.ndarray) -> np.ndarray:
    """Return the array, or a copy that is aligned."""
    if is_aligned(array):
        return array
    room = np.empty(array.nbytes + LINE, np.uint8)
    first = -room.ctypes.data % LINE
    copy = room[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
