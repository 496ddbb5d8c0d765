"""Where a run computes: platform and threads, set before jax starts its backend."""

import os
import platform as host
import sys
from typing import Any

import jax

from dltrain import __version__
from dltrain.errors import ConfigError


def start(*, platform: str, threads: int | None, deterministic: bool) -> None:
    """Choose the platform and start it, or raise ConfigError if it is not there.

    Args:
        platform: `auto` (the best that jax sees), `cpu`, `gpu` or `tpu`.
        threads: processor threads that the CPU backend uses; None for all.
        deterministic: let GPU kernels sum in a fixed order.
    """
    if threads is not None:
        os.environ["PJRT_NPROC"] = str(threads)
    if deterministic and "--xla_gpu_deterministic_ops" not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    if platform != "auto":
        jax.config.update("jax_platforms", platform)
    try:
        found = jax.devices()[0].platform
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"runtime.platform={platform}: jax sees none here ({reason}); try runtime=auto"
        ) from error
    if platform not in ("auto", found):
        raise ConfigError(f"runtime.platform={platform}: this process already computes on {found}")


def environment(*, seed: int) -> dict[str, Any]:
    """Describe what a run computed with; values of environment variables are never among it."""
    import flax
    import numpy as np
    import optax
    import orbax.checkpoint as ocp

    versions = {
        "dltrain": __version__,
        "python": sys.version.split()[0],
        "jax": jax.__version__,
        "flax": flax.__version__,
        "optax": optax.__version__,
        "orbax-checkpoint": ocp.__version__,
        "numpy": np.__version__,
    }
    devices = [f"{d.platform} {d.device_kind}" for d in jax.devices()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"seed": seed, "versions": versions, "devices": devices, "cores": cores, "host": host.platform()}
