"""The platform is what was asked for, or a clear error; the record of it holds no secret."""

import json
import subprocess
import sys

import jax
import pytest

from dltrain.engine import runtime
from dltrain.errors import ConfigError

FRESH = """
import json, os
from dltrain.engine import runtime
from dltrain.errors import ConfigError
try:
    runtime.start(platform="tpu", threads=None, deterministic=False)
except ConfigError as error:
    print(json.dumps(str(error)))
runtime.start(platform="cpu", threads=1, deterministic=True)
import jax, jax.numpy as jnp
(jnp.ones((512, 512)) @ jnp.ones((512, 512))).block_until_ready()
print(json.dumps(os.environ["XLA_FLAGS"]))
print(json.dumps(len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None))
print(json.dumps(runtime.environment(seed=7)))
"""


def test_a_fresh_process_starts_what_was_asked_for(tmp_path):
    flags = "--xla_cpu_enable_fast_math=false"
    env = {"PATH": "/usr/bin", "HOME": str(tmp_path), "XLA_FLAGS": flags, "TOKEN": "do-not-tell"}
    done = subprocess.run([sys.executable, "-c", FRESH], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    refusal, seen, _, found = map(json.loads, done.stdout.splitlines())
    assert refusal.startswith("runtime.platform=tpu: jax sees none here")
    assert refusal.endswith("try runtime=auto")
    assert seen == f"{flags} --xla_gpu_deterministic_ops=true"
    assert found["seed"] == 7
    assert found["devices"] == ["cpu cpu"]
    assert found["versions"]["jax"] == jax.__version__
    assert "do-not-tell" not in done.stdout


def test_a_process_that_computes_already_says_where(monkeypatch):
    before = jax.config.jax_platforms
    try:
        with pytest.raises(ConfigError, match=r"runtime\.platform=gpu: this process already computes on cpu"):
            jax.devices()
            runtime.start(platform="gpu", threads=None, deterministic=False)
    finally:
        jax.config.update("jax_platforms", before)
