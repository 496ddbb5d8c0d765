"""Rules choose the axis of a parameter that the mesh axis `model` divides, and refuse what cannot be divided."""

import pytest

from dltrain.devices.rules import axis_of, divide
from dltrain.errors import ConfigError

BLOCK = {
    "blocks.0.attention.qkv.kernel": (16, 48),
    "blocks.0.attention.qkv.bias": (48,),
    "blocks.0.attention.out.kernel": (16, 16),
    "blocks.0.attention.out.bias": (16,),
    "blocks.0.up.kernel": (16, 64),
    "blocks.0.up.bias": (64,),
    "blocks.0.down.kernel": (64, 16),
    "blocks.0.norm_dense.scale": (16,),
    "embedding.table": (65, 16),
    "head.kernel": (16, 65),
}
STACK = {f"hidden.{i}.kernel": (8, 8) for i in range(3)} | {f"hidden.{i}.bias": (8,) for i in range(3)}


def test_a_block_is_divided_by_outputs_then_by_inputs():
    assert divide(BLOCK, [], 4) == {
        "blocks.0.attention.qkv.kernel": 0,
        "blocks.0.attention.out.kernel": 0,
        "blocks.0.up.kernel": 1,
        "blocks.0.up.bias": 0,
        "blocks.0.down.kernel": 0,
        "embedding.table": 1,
    }


def test_layers_of_a_stack_alternate_and_the_head_reads_what_the_last_one_divides():
    odd = divide({**STACK, "head.kernel": (8, 10)}, [], 2)
    assert [odd.get(f"hidden.{i}.kernel") for i in range(3)] == [1, 0, 1]
    assert [odd.get(f"hidden.{i}.bias") for i in range(3)] == [0, None, 0]
    assert odd["head.kernel"] == 0
    even = {name: shape for name, shape in STACK.items() if "2" not in name}
    assert "head.kernel" not in divide({**even, "head.kernel": (8, 10)}, [], 2)


def test_convolutions_are_divided_by_output_channels_and_recurrent_layers_are_not():
    found = divide({"convolutions.0.kernel": (3, 3, 2, 8), "forward.0.kernel": (8, 32)}, [], 4)
    assert found == {"convolutions.0.kernel": 3}


def test_a_default_that_does_not_divide_evenly_does_not_apply():
    assert divide({"hidden.0.kernel": (8, 9), "head.kernel": (9, 2)}, [], 2) == {}


def test_the_last_rule_of_the_config_decides():
    rules = [{"match": r"kernel", "axis": None}, {"match": r"hidden\.1", "axis": 0}, {"match": "head", "axis": 1}]
    assert divide({**STACK, "head.kernel": (8, 10)}, rules, 2) == {
        "hidden.1.kernel": 0,
        "hidden.1.bias": 0,
        "head.kernel": 1,
    }


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            {"match": "dens", "axis": 0},
            r"match: dens, axis: 0\}: matches no parameter of hidden\.0\.kernel, hidden",
        ),
        ({"match": "0.kernel", "axis": 2}, r"hidden\.0\.kernel \[8, 8\] has no axis 2"),
        ({"match": "head", "axis": 0}, r"axis 0 of head\.kernel \[9, 8\] does not divide by model: 2; axis 1 does"),
    ],
)
def test_a_rule_that_cannot_apply_is_refused(rule, message):
    with pytest.raises(ConfigError, match=f"runtime.rules: .*{message}"):
        divide({**STACK, "head.kernel": (9, 8)}, [rule], 2)


def test_moments_are_divided_as_their_parameter():
    divided = {"up.kernel": ((4, 8), 1), "blocks.0.up.kernel": ((4, 8), 0)}
    assert axis_of("opt_state.0.mu.blocks.0.up.kernel", (4, 8), divided) == 0
    assert axis_of("ema.params.up.kernel", (4, 8), divided) == 1
    assert axis_of("opt_state.0.v_row.up.kernel", (4,), divided) is None
    assert axis_of("params.down.kernel", (8, 4), divided) is None
