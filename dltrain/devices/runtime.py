"""Where a run computes: platform and threads, set before jax starts its backend."""

import hashlib
import os
import platform as host
import subprocess
import sys
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jaxlib

from dltrain import __version__
from dltrain.cache import cache_folder
from dltrain.errors import ConfigError
from dltrain.ops import lowering

CACHE_BYTES = 2 * 2**30  # of compiled programs; the least recently used go first
MATMUL = "jax_default_matmul_precision"
WORTH_KEEPING = 0.1  # seconds of compiling
LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "hydra-core",
    "omegaconf",
    "tensorboard",
    "numpy",
)


def start(
    *,
    platform: str,
    threads: int | None,
    deterministic: bool,
    cache: bool,
    ops: str = "auto",
    matmul: str = "default",
    **of_the_program: Any,
) -> None:
    """Choose the platform and start it, or raise ConfigError if it is not there.

    Args:
        platform: `auto` (the best that jax sees), `cpu`, `gpu` or `tpu`.
        threads: processor threads that the CPU backend uses; None for all.
        deterministic: let GPU kernels sum in a fixed order, and compile anew.
        cache: keep compiled programs for the next start.
        ops: `auto`, or `stock` for jax's own forms of the operations in `dltrain.ops`.
        matmul: precision of float32 matrix products, in jax's words.
        of_the_program: keys of the same node that decide what is compiled (precision, mesh); not read here.
    """
    del of_the_program
    lowering.use(stock=ops == "stock")
    jax.config.update(MATMUL, None if matmul == "default" else matmul)
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
    _keep_compiled(found if cache and not deterministic else None)


def arithmetic() -> str:
    """Say how float32 matrix products are computed, and on what device."""
    first = jax.devices()[0]
    kind = first.platform if first.platform == "cpu" else f"{first.platform} ({first.device_kind})"
    return f"matrix products {getattr(jax.config, MATMUL) or 'default'}; {kind}"


def _keep_compiled(platform: str | None) -> None:
    """Keep compiled programs in the cache folder, apart by version and machine; None for not at all.

    Several runs may write at once: jax locks the folder, which is also kept under a size.
    """
    if platform is None:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    machine = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    folder = cache_folder() / "compiled" / f"jax-{jax.__version__}-{jaxlib.__version__}-{platform}-{machine}"
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)


def _processor() -> str:
    """Describe the processor: code compiled for one may not run on another of the same kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{host.machine()} {host.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


def versions() -> dict[str, str]:
    """Name the versions of what computes."""
    return {"dltrain": __version__, "python": sys.version.split()[0]} | {n: metadata.version(n) for n in LIBRARIES}


def environment() -> dict[str, Any]:
    """Describe what a run computes with; values of environment variables are never among it."""
    devices = [f"{d.platform} {d.device_kind}" for d in jax.devices()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "versions": versions(),
        "devices": devices,
        "cores": cores,
        "host": host.platform(),
        "git": _commit(),
    }


def _commit() -> str:
    """Name the commit of the current folder, with `+` where files differ from it; empty outside a repository."""
    ask = partial(subprocess.run, capture_output=True, text=True, timeout=10, check=True)
    try:
        commit = ask(["git", "rev-parse", "HEAD"]).stdout.strip()
        return commit + "+" * bool(ask(["git", "status", "--porcelain", "--untracked-files=no"]).stdout)
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or one too large to look through
        return ""
