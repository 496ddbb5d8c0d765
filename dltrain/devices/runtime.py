"""Platform, threads and compilation cache, set before jax starts its backend."""

import functools
import hashlib
import os
import platform as host
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jaxlib

from dltrain import __version__
from dltrain.cache import cache_folder
from dltrain.devices import hosts, programs
from dltrain.errors import ConfigError
from dltrain.machine import cores
from dltrain.ops import lowering

CACHE_BYTES = 2 * 2**30  # of compiled programs; the least recently used are deleted first
MATMUL = "jax_default_matmul_precision"
WORTH_KEEPING = 0.1  # seconds of compilation; faster programs are not cached
NUMERICS = ("JAX_ENABLE_X64", "JAX_DISABLE_JIT", "JAX_DEFAULT_PRNG_IMPL", "JAX_THREEFRY_PARTITIONABLE")
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
    """Start the platform, or raise ConfigError if it is not available.

    Args:
        platform: `auto` (the best that jax finds), `cpu`, `gpu` or `tpu`.
        threads: of the CPU backend; None for one per core.
        deterministic: make GPU kernels sum in a fixed order, and do not use the compilation cache. A CPU sums in an
            order that depends on `threads`.
        cache: keep compiled programs for the next start.
        ops: `auto`, or `stock` for the lowerings of jax instead of `dltrain.ops`.
        matmul: precision of float32 matrix products, as in `jax_default_matmul_precision`.
        of_the_program: other keys of `runtime`, which determine the program (precision, mesh), or join processes
            (hosts and elastic, which must be None and false here, heartbeat).
    """
    if of_the_program.get("hosts") is not None:  # a run that other processes join has joined them before
        raise ConfigError(
            "runtime.hosts: only dltrain and dltrain resume train one model in several processes; leave it out here"
        )
    if of_the_program.get("elastic"):
        raise ConfigError("runtime.elastic: only dltrain and dltrain resume continue a run; leave it out here")
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
        unknown = "list of known backends" in reason  # this build of jax has no driver: nothing else to report
        raise ConfigError(
            f"runtime.platform={platform}: jax finds no such device{'' if unknown else f' ({reason})'}; "
            f"{_remedy(platform)}"
        ) from error
    if jax.config.jax_disable_jit:  # ty: ignore[missing-attribute]
        raise ConfigError("JAX_DISABLE_JIT (jax_disable_jit) is set: dltrain compiles training; unset it")
    if platform not in ("auto", found):
        raise ConfigError(f"runtime.platform={platform}: this process already uses {found}")
    # Of several processes, each would load code that was compiled for the devices of another one.
    _keep_compiled(found if cache and not deterministic and hosts.count() == 1 else None)


def _remedy(platform: str) -> str:
    """Say what makes a platform available."""
    if platform == "auto":
        chosen = os.environ.get("JAX_PLATFORMS", "")
        return f"the environment variable JAX_PLATFORMS={chosen} asks for it; unset JAX_PLATFORMS"
    build = {"gpu": "jax[cuda13]", "tpu": "jax[tpu]"}.get(platform)
    install = (
        f"pip install '{build}' installs the build of jax for it, then see dltrain doctor; or " if build else ""
    )
    return f"{install}train with runtime=auto, on the best device there is"


def arithmetic() -> str:
    """Describe the precision of float32 matrix products, and the device."""
    first = jax.devices()[0]
    kind = first.platform if first.platform == "cpu" else f"{first.platform} ({first.device_kind})"
    return f"matrix products {getattr(jax.config, MATMUL) or 'default'}; {kind}"


def numerics() -> dict[str, Any]:
    """Describe what decides the last bits of a result, besides versions, config and data.

    A CPU sums in an order that depends on the number of threads, also with `runtime.deterministic`.
    """
    first = jax.devices()[0]
    on_cpu = first.platform == "cpu"
    flags = sorted(os.environ.get("XLA_FLAGS", "").split())
    return {
        "device": arithmetic().partition("; ")[2],
        "devices": jax.device_count(),
        "threads": threads() if on_cpu else None,
        "processor": _machine() if on_cpu else None,
        "XLA_FLAGS": " ".join(flag for flag in flags if not (on_cpu and flag.startswith("--xla_gpu"))),
        **{name: getattr(jax.config, name.lower()) for name in NUMERICS},
    }


def threads() -> int:
    """Return the number of threads of the CPU backend: `runtime.threads`, else one per core."""
    chosen = os.environ.get("PJRT_NPROC", "")
    return int(chosen) if chosen.isdigit() else cores()


def _machine() -> str:
    """Name the kind of CPU, for comparisons."""
    return hashlib.sha256(_processor().encode()).hexdigest()[:12]


def _keep_compiled(platform: str | None) -> None:
    """Cache compiled programs on disk, by version, machine and number of threads; None disables the cache.

    Code compiled for one machine may not run on another, and for another number of threads it sums in another
    order.
    """
    if platform is None:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    built_for = f"{platform}-{_machine()}-{threads()}" if platform == "cpu" else f"{platform}-{_machine()}"
    folder = cache_folder() / "programs" / f"jax-{jax.__version__}-{jaxlib.__version__}-{built_for}"
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)
    programs.use(programs.ProgramCache(folder, most=CACHE_BYTES))


def _processor() -> str:
    """Describe the CPU: code compiled for one may not run on another of the same platform."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{host.machine()} {host.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


def versions() -> dict[str, str]:
    """Return the versions of dltrain, Python and the main libraries."""
    return {"dltrain": __version__, "python": sys.version.split()[0]} | {n: _version(n) for n in LIBRARIES}


_version = functools.cache(metadata.version)  # each look into the installed packages takes a millisecond


def environment() -> dict[str, Any]:
    """Describe the environment of a run, without values of environment variables."""
    devices = [f"{d.platform} {d.device_kind}" for d in jax.devices()]
    return {
        "versions": versions(),
        "devices": devices,
        "cores": cores(),
        "host": host.platform(),
        "git": _commit(),
    }


def _commit() -> str:
    """Return the commit of the current folder, with `+` if files differ from it; "" outside a repository."""
    try:
        commit = _git("rev-parse", "HEAD").strip()
        names = _git("config", "--list", "--name-only")
        filters = {m[1] for m in re.finditer(r"^filter\.(.*)\.\w+$", names, re.M)}
        if any("=" in name for name in filters):  # which git would read as another setting
            return commit
        off = [f"filter.{name}.{key}" for name in filters for key in ("clean=", "process=", "required=false")]
        status = _git("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all", settings=off)
        return commit + "+" * bool(status)
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or one too large to scan
        return ""


def _git(*words: str, settings: Sequence[str] = ()) -> str:
    """Return what git prints about the current folder, letting it run no program that the repository names.

    The repository may be somebody else's: its config can name hooks, a monitor of files, filters (which `settings`
    switch off by name) and, for objects that it lacks, a program that fetches them.
    """
    off = ["core.fsmonitor=false", f"core.hooksPath={os.devnull}", "protocol.allow=never", *settings]
    command = ["git", "--no-pager", *(word for setting in off for word in ("-c", setting)), *words]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(command, capture_output=True, timeout=10, check=True, env=environment)
    return os.fsdecode(done.stdout)  # bytes that are not UTF-8 too, so that a filter of any name is switched off
