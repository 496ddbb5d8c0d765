"""The cost model counts what networks really have, and its limits are those of the formulas."""

import itertools

import jax
import pytest
from flax import nnx

from dltrain.profiling import scaling
from dltrain.profiling.scaling import Rates

RATES = Rates("test", flops=1e12, bandwidth=1e9, latency=0.0)


def test_an_all_reduce_sends_what_a_ring_sends():
    assert scaling.all_reduce(10, 1) == 0
    assert scaling.all_reduce(10, 2) == 40
    assert scaling.all_reduce(10, 4) == 2 * scaling.all_gather(10, 4)


@pytest.mark.parametrize("sizes", [(784, 128, 128, 10), (8, 4)])
def test_dense_layers_have_as_many_parameters_as_those_of_flax(sizes):
    pairs = list(itertools.pairwise(sizes))
    layers = [nnx.eval_shape(lambda a=a, b=b: nnx.Linear(a, b, rngs=nnx.Rngs(0))) for a, b in pairs]
    counted = sum(leaf.size for layer in layers for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param)))
    net = scaling.dense_stack("mlp", sizes)
    assert net.parameters == counted
    assert net.flops == 3 * sum(2 * a * b for a, b in pairs)


def test_half_of_a_step_is_computing_at_the_break_even():
    net = scaling.NETWORKS[0]
    even = round(scaling.break_even(net, RATES, 4))
    assert scaling.data_axis(net, RATES, devices=4, batch=even).efficiency == pytest.approx(0.5, abs=1e-3)


def test_fsdp_sends_half_as_much_again_as_data_and_keeps_a_part():
    net = scaling.NETWORKS[3]
    data, fsdp = (f(net, RATES, devices=4, batch=8) for f in (scaling.data_axis, scaling.fsdp_axis))
    assert fsdp.sent == pytest.approx(1.5 * data.sent)
    assert fsdp.state == data.state / 4
    assert fsdp.compute == data.compute


def test_a_divided_block_sends_four_sums_of_its_states():
    net = scaling.transformer("block", layers=1, width=32, feedforward=64, length=8, vocabulary=1)
    cost = scaling.model_axis(net, RATES, devices=2, batch=64)
    qkv = 2 * 4 * 32 * 96 / 2 / 2  # two exchanges of a half, of which a half stays
    assert cost.sent == 4 * (4 * 64 * 8 * 32) + qkv


def test_dividing_a_wide_model_pays_and_a_narrow_one_does_not():
    narrow, wide = (
        scaling.transformer("", layers=1, width=w, feedforward=4 * w, length=8, vocabulary=8) for w in (16, 4096)
    )
    assert scaling.gain_of_model(narrow, RATES, devices=4, batch=512) < 1
    assert 1 < scaling.gain_of_model(wide, RATES, devices=4, batch=512) < 4
