"""The compiled step of training sends what the design says, and nothing else: on 4, 64 and 512 virtual devices."""

import json
import os
import subprocess
import sys

import pytest

from dltrain.profiling.collectives import Collective, collectives, large

COMPILE = """
import json, sys
import jax, numpy as np
from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import compose_words
from dltrain.profiling.collectives import collectives
from dltrain.tree import path_name

found = {}
for name, words in json.loads(sys.argv[1]).items():
    config = compose_words(*words, "steps=20", "checkpoint_every=20").config
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    lowered = program.chunk.lower(program.placed, program.feed.shapes, program.input_shapes, np.int32(1))
    leaves = jax.tree_util.tree_flatten_with_path(program.placed.params)[0]
    found[name] = {
        "collectives": [(c.kind, c.shapes, c.source) for c in collectives(lowered.compile().as_text())],
        "params": {path_name(path): (leaf.shape, leaf.sharding.shard_shape(leaf.shape)) for path, leaf in leaves},
    }
print(json.dumps(found))
"""

MLP = ["model.widths=[64,64]"]
BLOCK = ["model=transformer", "model.layers=1", "model.width=32", "model.heads=4", "model.feedforward=64"]
INPUT = 64  # bytes of an example: one fills the padding of a short batch


def compiled(devices: int, cases: dict[str, list[str]], flags: str) -> dict[str, dict]:
    """Compile the step of training on virtual devices: case -> its collectives, and parameters: (shape, part)."""
    count = f"--xla_force_host_platform_device_count={devices} {flags}"
    env = {**os.environ, "XLA_FLAGS": count, "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-c", COMPILE, json.dumps(cases)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=560)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for case in found.values():
        case["collectives"] = [
            Collective(kind, tuple(shapes), source) for kind, shapes, source in case["collectives"]
        ]
    return found


def values(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def check_bounded(case: dict) -> None:
    """Nothing is sent inside a loop of the step, and small ones are few."""
    assert all(collective.loops <= 1 for collective in case["collectives"])
    assert len(case["collectives"]) - len(large(case["collectives"])) <= 12


def check_data(case: dict) -> None:
    """One all-reduce sums gradients, loss and a metric; what fills padding is sent only if there is some."""
    check_bounded(case)
    (gradients,) = [c for c in case["collectives"] if "/cond/" not in c.source]
    assert len(case["collectives"]) <= 3  # a branch sends an example: its inputs and its target
    expected = 4 * sum(values(shape) for shape, _ in case["params"].values())
    assert gradients.kind == "all-reduce"
    assert gradients.bytes == expected + 4 + 4


def check_fsdp(case: dict) -> None:
    """Each divided parameter is gathered once, and its gradient summed; the CPU's XLA has no reduce-scatter."""
    check_bounded(case)
    cut = [shape for shape, part in case["params"].values() if shape != part]
    gathers = [c for c in large(case["collectives"], INPUT + 4 * 512) if c.kind == "all-gather"]
    assert cut
    assert sorted(c.bytes for c in gathers) == sorted(4 * values(shape) for shape in cut)
    sent = sum(c.bytes for c in case["collectives"] if c.kind == "all-reduce")
    gradients = 4 * sum(values(shape) for shape, _ in case["params"].values())
    assert gradients <= sent <= 2 * gradients + 1024  # with `data`, parts are summed over it after those of fsdp


def check_block(case: dict, states: int, parts: int) -> None:
    """A block sums its states twice forward and twice backward; kernels of qkv go to the heads and back."""
    check_bounded(case)
    sums = [s for c in case["collectives"] if c.kind == "all-reduce" for s in c.shapes if s.count(",") == 2]
    sizes = [Collective("", (shape,), "").bytes for shape in sums]
    assert [size for size in sizes if size > 1024] == [states] * 4  # smaller: an example, the bias of qkv
    moved = [c for c in large(case["collectives"]) if c.kind not in ("all-reduce",)]
    qkv = 4 * 32 * 96
    assert all(c.bytes <= qkv for c in moved)
    assert sum(c.bytes for c in moved if c.kind == "all-to-all") == 2 * qkv // parts


def test_four_devices_send_what_the_design_says(quick_flags):
    found = compiled(
        4,
        {
            "data": [*MLP, "batch_size=64", "runtime.mesh={data: 4}"],
            "streamed": [*MLP, "batch_size=64", "runtime.mesh={data: 4}", "data.feed=streamed"],
            "fsdp": [*MLP, "batch_size=64", "runtime.mesh={fsdp: 4}"],
        },
        quick_flags,
    )
    check_data(found["data"])
    check_data(found["streamed"])
    check_fsdp(found["fsdp"])


@pytest.mark.slow
def test_a_divided_block_sums_its_states_four_times(quick_flags):
    words = [*BLOCK, "batch_size=64", "runtime.mesh={data: 2, model: 2}"]
    check_block(compiled(4, {"model": words}, quick_flags)["model"], states=4 * 32 * 8 * 32, parts=2)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [64, 512])
def test_many_devices_send_what_the_design_says(devices, quick_flags):
    fsdp, model = devices // 8, devices // 4
    found = compiled(
        devices,
        {
            "data": [*MLP, f"batch_size={devices}", f"runtime.mesh={{data: {devices}}}"],
            "both": [*MLP, f"batch_size={devices}", f"runtime.mesh={{data: {fsdp}, fsdp: 8}}"],
            "model": [*BLOCK, f"batch_size={devices}", f"runtime.mesh={{data: {model}, model: 4}}"],
        },
        quick_flags,
    )
    check_data(found["data"])
    check_fsdp(found["both"])
    check_block(found["model"], states=4 * 4 * 8 * 32, parts=4)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lstm", "gru", "rnn"])
def test_recurrent_gradients_are_summed_once_and_not_at_every_step_of_the_sequence(model, quick_flags):
    words = [f"model={model}", "model.hidden=32", "batch_size=64", "runtime.mesh={data: 4}"]
    case = compiled(4, {"data": words}, quick_flags)["data"]
    check_bounded(case)
    (gradients,) = large(case["collectives"])
    assert gradients.kind == "all-reduce"
    assert gradients.bytes == 4 * sum(values(shape) for shape, _ in case["params"].values()) + 4 + 4


TEXT = """
  %a = (f32[64,10]{1,0}, /*index=1*/f32[]) all-reduce(%x, %y), metadata={op_name="jit(f)/while/body/while/body/dot"}
  ROOT %b = bf16[8,2]{1,0} all-gather(%z), dimensions={0}
  %c = (f32[4]{0}, f32[16]{0}) all-gather-start(%z), dimensions={0}
  %d = f32[4]{0} add(%all-reduce.1, %p)
"""


def test_collectives_are_read_from_a_program():
    first, second, third = collectives(TEXT)
    assert (first.kind, first.bytes, first.loops) == ("all-reduce", 4 * 641, 2)
    assert (second.kind, second.shapes, second.bytes, second.loops) == ("all-gather", ("bf16[8,2]",), 32, 0)
    assert third.bytes == 64
    assert large([first, second]) == [first]
