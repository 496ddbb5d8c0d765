"""The platform is the requested one, or a clear error; its description contains no secret."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from dltrain.devices import runtime
from dltrain.errors import ConfigError

FRESH = """
import json, os
from pathlib import Path
from dltrain.devices import runtime
from dltrain.errors import ConfigError
try:
    runtime.start(platform="tpu", threads=None, deterministic=False, cache=False)
except ConfigError as error:
    refusal = str(error)
runtime.start(platform="cpu", threads=3, deterministic=True, cache=True)
import jax, jax.numpy as jnp
cached = [jax.config.jax_enable_compilation_cache]
runtime.start(platform="cpu", threads=3, deterministic=False, cache=True)
cached.append(jax.config.jax_enable_compilation_cache)
(jnp.ones((512, 512)) @ jnp.ones((512, 512))).block_until_ready()
tasks = [task.read_text() for task in Path("/proc/self/task").glob("*/comm")]
print(json.dumps({
    "refusal": refusal,
    "flags": os.environ["XLA_FLAGS"],
    "cached": cached,
    "folder": jax.config.jax_compilation_cache_dir,
    "threads": sum("XLAEigen" in task for task in tasks) if tasks else 3,
    "environment": runtime.environment(),
}))
"""


def test_new_process_starts_the_chosen_platform(tmp_path):
    flags = "--xla_cpu_enable_fast_math=false"
    env = {"PATH": os.defpath, "HOME": str(tmp_path), "XLA_FLAGS": flags, "TOKEN": "do-not-tell"}
    env["DLTRAIN_CACHE"] = str(tmp_path / "cache")
    done = subprocess.run([sys.executable, "-c", FRESH], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "do-not-tell" not in done.stdout
    found = json.loads(done.stdout)
    assert found["refusal"].startswith("runtime.platform=tpu: jax finds no such device")
    assert found["refusal"].endswith("train with runtime=auto, on the best device there is")
    assert found["flags"] == f"{flags} --xla_gpu_deterministic_ops=true"  # once, and what was there stays
    assert found["cached"] == [False, True]  # a deterministic run compiles again
    assert Path(found["folder"]).is_relative_to(tmp_path / "cache")
    assert found["threads"] == 3  # of XLA's pool; where the system does not tell, nothing is claimed
    assert found["environment"]["devices"] == ["cpu cpu"]
    assert found["environment"]["versions"]["jax"] == jax.__version__


def test_changing_the_platform_of_a_process_is_an_error():
    before = jax.config.jax_platforms
    try:
        assert jax.devices()[0].platform == "cpu"
        with pytest.raises(ConfigError, match=r"runtime\.platform=gpu: this process already uses cpu"):
            runtime.start(platform="gpu", threads=None, deterministic=False, cache=False)
    finally:
        jax.config.update("jax_platforms", before)


CACHED = """
import json, sys
from dltrain.devices import runtime
runtime.CACHE_BYTES, runtime.WORTH_KEEPING = int(sys.argv[1]), 0
runtime.start(platform="cpu", threads=None, deterministic=False, cache=True)
import jax, jax.numpy as jnp
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.rsplit("/", 1)[-1]))
for n in range(2, 8):
    jax.jit(lambda x: jnp.tanh(x) * n).lower(jax.ShapeDtypeStruct((n,), "float32")).compile()
print(json.dumps([events.count("cache_hits"), events.count("cache_misses")]))
"""


@pytest.mark.slow
def test_two_processes_share_the_cache_which_keeps_its_limit(tmp_path):
    def begin(name, limit):
        env = {**os.environ, "DLTRAIN_CACHE": str(tmp_path / name)}
        return subprocess.Popen(
            [sys.executable, "-c", CACHED, str(limit)], env=env, stdout=subprocess.PIPE, text=True
        )

    def ended(process):
        result, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return json.loads(result)

    def kept(name):
        return [path.stat().st_size for path in (tmp_path / name).rglob("*-cache")]

    for process in [begin("shared", 2**30) for _ in range(2)]:
        hits, misses = ended(process)
        assert hits + misses == 6
    assert ended(begin("shared", 2**30)) == [6, 0]
    assert len(kept("shared")) == 6
    limit = 3 * max(kept("shared"))
    assert ended(begin("small", limit)) == [0, 6]
    assert 0 < sum(kept("small")) <= limit
