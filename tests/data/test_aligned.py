"""Arrays are aligned so that JAX can share them: a data set is in memory only once."""

import numpy as np
import pytest

from dltrain.data.aligned import LINE, aligned, is_aligned
from dltrain.data.scan import read_whole
from dltrain.data.sources.embedded import load_embedded
from dltrain.engine.feed import Resident


@pytest.mark.parametrize("shape", [(5,), (3, 4, 2), ()])
@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float64])
def test_arrays_are_copied_only_if_necessary(shape, dtype):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    found = aligned(array)
    assert is_aligned(found) and found.ctypes.data % LINE == 0
    np.testing.assert_array_equal(found, array, strict=True)
    assert aligned(found) is found


def test_a_strided_or_misaligned_array_is_copied():
    whole = aligned(np.arange(1000, dtype=np.uint8).reshape(10, 100))
    for part in (whole[:, ::2], whole[1:], whole.T):
        assert not is_aligned(part)
        np.testing.assert_array_equal(aligned(part), part)


def test_source_and_cpu_device_share_the_read_only_examples():
    source = load_embedded("iris")
    arrays = read_whole(source)
    resident = Resident(arrays)
    for name, value in resident.data.items():
        assert value.unsafe_buffer_pointer() == source.arrays[name].ctypes.data
        with pytest.raises(ValueError, match="read-only"):
            source.arrays[name][0] = 0
    assert resident.in_place == sum(value.nbytes for value in arrays.values()) > 0


def test_arrays_read_from_another_source_are_shared(make_parts):
    arrays = read_whole(make_parts().source)
    resident = Resident(arrays)
    for name, value in resident.data.items():
        assert value.unsafe_buffer_pointer() == arrays[name].ctypes.data
    assert resident.in_place == sum(value.nbytes for value in arrays.values()) > 0


def test_an_array_of_another_dtype_or_alignment_is_copied_by_jax():
    wide, off = aligned(np.arange(8, dtype=np.float64)), aligned(np.arange(65, dtype=np.uint8))[1:]
    resident = Resident({"wide": wide, "off": off})
    assert resident.in_place == 0
    for name, value in (("wide", wide), ("off", off)):
        assert resident.data[name].unsafe_buffer_pointer() != value.ctypes.data
        np.testing.assert_array_equal(resident.data[name], value)


def test_on_another_device_there_is_always_a_copy(monkeypatch):
    resident = Resident(read_whole(load_embedded("iris")))
    assert resident.in_place > 0
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    assert resident.in_place == 0
