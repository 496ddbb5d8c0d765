import numpy as np

from dltrain.data.sources.fingerprint import fingerprint


def test_names_dtypes_shapes_and_bytes_all_count():
    zeros = np.zeros(4, np.int32)
    prints = {
        fingerprint(arrays)
        for arrays in (
            {"a": zeros},
            {"b": zeros},
            {"a": zeros.view(np.float32)},
            {"a": zeros.reshape(2, 2)},
            {"a": zeros + 1},
            {"a": zeros[:0]},
            {"a": zeros, "b": zeros},
        )
    }
    assert len(prints) == 7


def test_neither_order_nor_layout_in_memory_counts():
    a, b = np.arange(6).reshape(2, 3), np.ones(2)
    assert fingerprint({"a": a, "b": b}) == fingerprint({"b": b, "a": np.asfortranarray(a)})
