"""Several devices train like one: same losses, same order, and checkpoints can move between them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable

import pytest

from dltrain.devices.mesh import make_layout
from dltrain.errors import ConfigError

LOSSES = """
import json, logging, sys
import jax, numpy as np
from dltrain.build.parts import assemble
from dltrain.composition.compose import compose_words
from dltrain.build.plan import make_plan
from dltrain.build.compiling import compile_training
from dltrain.build.program import Program

cases = json.loads(sys.argv[1])
found = {}
compiled = []  # jax's own words; with a mesh some versions list one executable twice in the cache of calls
jax.config.update("jax_log_compiles", True)
logger = logging.getLogger("jax._src.interpreters.pxla")
logger.propagate = False
logger.addFilter(lambda record: compiled.append(record.getMessage().split(" with ")[0]))
for name, words in cases.items():
    config = compose_words(*words, "steps=20", "log_every=1", "eval_every=20", "checkpoint_every=20").config
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    assert compile_training(program) > 0
    state = program.start()
    evaluation = program.evaluate(state, "validation")  # of one state: training's rounding is not in it
    state, logs = program.chunk(state, program.data, program.feed_chunk(0, 20), np.int32(20))
    after = program.chunk(state, program.data, program.feed_chunk(20, 0), np.int32(0))[0]  # one executable for all
    program.evaluate(after, "test")
    found[name] = {
        "compilations": [compiled.count(f"Compiling jit({function})") for function in ("chunk", "run")],
        "losses": np.asarray(logs["loss"])[:20].tolist(),
        "validation": evaluation.scalars["loss"],
        "examples": len(evaluation.examples),
        "cut": sum(not leaf.is_fully_replicated for leaf in jax.tree.leaves((after.params, after.opt_state))),
        "devices": len(jax.tree.leaves(after.params)[0].sharding.device_set),
    }
    compiled.clear()
print(json.dumps(found))
"""


def on_four(script: str, cases: dict[str, list[str]], cwd, flags: str) -> dict[str, dict]:
    """Run a script that ends with `LOSSES` on four virtual CPU devices."""
    env = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count=4 {flags}", "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-c", script, json.dumps(cases)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=240, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


MESHES = {"1": "{data: 1}", "2": "{data: 2}", "4": "auto", "2x2": "{data: 2, fsdp: 2}"}
DEVICES = {"1": 1, "2": 2, "4": 4, "2x2": 4}


def on_meshes(words: list[str], names: Iterable[str] = MESHES) -> dict[str, list[str]]:
    return {name: [*words, f"runtime.mesh={MESHES[name]}"] for name in names}


def check_same(found: dict[str, dict], *, large: int) -> None:
    """`large` is the number of parameters that fsdp shards, each with its two moments."""
    one = found["1"]
    for name, other in found.items():
        assert other["losses"] == pytest.approx(one["losses"], rel=1e-5), name
        assert other["validation"] == pytest.approx(one["validation"], rel=1e-5), name
        assert other["examples"] == one["examples"], name
        assert other["compilations"] == [1, 1], name
        assert other["devices"] == DEVICES[name]
        assert other["cut"] == (3 * large if name == "2x2" else 0), name


# The last batch of an epoch is short in all of these: 1294 training examples, 12 steps of 104 and one of 46.
CNN = ["model=cnn", "model.channels=[4]", "model.dense=[32]", "model.norm=batch", "batch_size=104"]
STREAMED = ["model.widths=[64]", "model.dropout=0.3", "batch_size=104", "optim.accumulate=2", "data.feed=streamed"]


MOVES = """
from dltrain.cli.main import main
from dltrain.report import finish
finish.draw = lambda *args, **options: None  # pictures are the same on one device
words = ["model.widths=[64]", "batch_size=104", "quiet=true", "log_every=1", "epochs=2"]
assert main([*words, "output_dir=straight", "runtime.mesh={data: 1}"]) == 0
assert main([*words, "output_dir=moved", "steps=6", "epochs=null", "runtime.mesh={data: 1}"]) == 0
for steps, mesh in ((12, "{data: 1, fsdp: 2}"), (20, "{data: 4}"), (26, "{data: 1}")):
    assert main(["resume", "moved", f"steps={steps}", "epochs=null", f"runtime.mesh={mesh}"]) == 0
"""


@pytest.fixture(scope="module")
def four(tmp_path_factory, quick_flags):
    """Do both in one process, since starting one takes as long as two runs: (folder of the runs, losses)."""
    folder = tmp_path_factory.mktemp("four")
    words = [*STREAMED, "model.norm=batch"]
    return folder, on_four(MOVES + LOSSES, on_meshes(words, ("1", "2x2")), folder, quick_flags)


@pytest.mark.slow
def test_losses_do_not_depend_on_the_number_of_devices(four):
    check_same(four[1], large=1)


@pytest.mark.slow
@pytest.mark.parametrize("words", [CNN, STREAMED])
def test_losses_are_equal_on_every_mesh(words, tmp_path):
    """Compiled as for users: the quick options round the convolutions of different batch sizes differently."""
    check_same(on_four(LOSSES, on_meshes(words), tmp_path, ""), large=1)


@pytest.mark.slow
def test_losses_of_a_recurrent_network_do_not_depend_on_the_number_of_devices(tmp_path, quick_flags):
    words = ["model=lstm", "model.hidden=32", "batch_size=104"]
    check_same(on_four(LOSSES, on_meshes(words), tmp_path, quick_flags), large=2)


DIVIDED = {"1": "{data: 1}", "m4": "{model: 4}", "2xm2": "{data: 2, model: 2}", "f2xm2": "{fsdp: 2, model: 2}"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["model.widths=[64,32,64]", "model.dropout=0.3", "model.norm=batch", "optim.accumulate=2"],
        ["model=transformer", "model.layers=2", "model.width=32", "model.heads=4", "model.feedforward=64"],
        CNN,
        ["model=gru", "model.hidden=32"],
    ],
    ids=["mlp", "transformer", "cnn", "gru"],
)
def test_losses_do_not_depend_on_how_layers_are_divided(words, tmp_path, quick_flags):
    cases = {name: [*words, "batch_size=104", f"runtime.mesh={mesh}"] for name, mesh in DIVIDED.items()}
    flags = "" if "model.norm=batch" in words else quick_flags  # with these, rounding depends more on the shapes
    found = on_four(LOSSES, cases, tmp_path, flags)
    for name, other in found.items():
        assert other["losses"] == pytest.approx(found["1"]["losses"], rel=1e-5), name
        assert other["validation"] == pytest.approx(found["1"]["validation"], rel=1e-5), name
        assert other["examples"] == found["1"]["examples"], name
        assert other["compilations"] == [1, 1], name
        assert "gru" in str(words) or (other["cut"] > 0) == (name != "1"), name


@pytest.mark.slow
def test_checkpoint_moves_from_1_to_2_to_4_devices_and_back(four):
    rows = [
        [json.loads(line) for line in (four[0] / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("straight", "moved")
    ]
    straight, moved = ({r["step"]: r["loss"] for r in found if r["split"] == "train"} for found in rows)
    assert list(straight) == list(moved) == list(range(1, 27))
    for step in range(1, 27):
        assert moved[step] == pytest.approx(straight[step], rel=1e-5), step


def test_one_device_needs_no_layout_and_too_many_are_an_error():
    assert make_layout("auto", 64) is None
    assert make_layout({"data": 1}, 64) is None
    with pytest.raises(ConfigError, match=r"runtime\.mesh=\{data: 2, fsdp: 2\}: needs 4 devices, but there are 1"):
        make_layout({"data": 2, "fsdp": 2}, 64)
    with pytest.raises(ConfigError, match=r"runtime\.mesh=\{data: 2, fsdp: 1, model: 3\}: needs 6 devices"):
        make_layout({"data": 2, "model": 3}, 64)
