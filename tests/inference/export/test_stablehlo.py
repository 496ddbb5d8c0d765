"""The StableHLO export runs on every platform, for any number of examples, with the lowerings of jax."""

import jax
from flax import nnx
from jax import export

import dltrain as package
from dltrain.inference.export.stablehlo import to_stablehlo
from dltrain.ops import lowering


def test_it_is_lowered_by_jax_for_every_platform_and_any_number(case, monkeypatch):
    plain, seen = nnx.Linear.__call__, set()

    def noted(self, *args, **options):
        seen.add(lowering.is_stock())
        return plain(self, *args, **options)

    monkeypatch.setattr(nnx.Linear, "__call__", noted)
    found = export.deserialize(bytearray(to_stablehlo(package.open_run(case.run).bundle)))
    assert seen == {True} and not lowering.is_stock()
    assert set(found.platforms) == {"cpu", "cuda", "tpu"}
    assert not any(isinstance(aval.shape[0], int) for aval in (*found.in_avals, *found.out_avals))
    names = [
        jax.tree_util.keystr(path)
        for path, _ in jax.tree_util.tree_flatten_with_path(found.in_tree.unflatten(found.in_avals))[0]
    ]
    assert [name.split("'")[1] for name in names] == ["about", "categories", "numbers"]
