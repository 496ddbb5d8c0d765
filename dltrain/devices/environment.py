"""The current folder and the environment, checked before jax is imported: it ends the process in some of them."""

import mmap
import os
import subprocess
import sys
from pathlib import Path

from dltrain.errors import ConfigError, DiskError, MemoryExhausted

TRUTHS = ("y", "yes", "t", "true", "on", "1", "n", "no", "f", "false", "off", "0")
"""What jax reads as true or false in the environment."""

PROBE_SECONDS = 60
ADDRESS_SPACE = 2_000_000_000  # bytes; with two cores a process of 1.74e9 bytes cannot start its threads


def check_folder() -> None:
    """Raise if the current folder is gone."""
    try:
        os.getcwd()
    except OSError as error:
        raise DiskError(f"the current folder: {error.strerror}; change to one that exists: cd ~") from error


def check_environment() -> None:
    """Raise ConfigError for an environment variable with which jax or XLA cannot compute; nothing is imported.

    XLA ends the whole process when it does not know a flag, without saying what to do.
    """
    _check_address_space()
    for name in ("JAX_DISABLE_JIT", "JAX_ENABLE_X64", "JAX_DEBUG_NANS", "JAX_DEBUG_INFS"):
        value = os.environ.get(name, "0").lower()
        if value not in TRUTHS:
            raise ConfigError(f"the environment variable {name}={value}: must be true or false; unset {name}")
    if os.environ.get("JAX_DISABLE_JIT", "0").lower() in TRUTHS[:6]:
        raise ConfigError("the environment variable JAX_DISABLE_JIT is set: dltrain has to compile; unset it")
    flags = os.environ.get("XLA_FLAGS", "").split()
    if doubtful := [flag for flag in flags if not flag.startswith("--xla_") or not _in_library(flag)]:
        _probe(doubtful)


def _check_address_space() -> None:
    """Raise MemoryExhausted if a limit is less than the libraries and their threads take, which end the process."""
    try:
        import resource
    except ImportError:  # not POSIX
        return
    allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    if allowed != resource.RLIM_INFINITY and allowed < ADDRESS_SPACE:
        raise MemoryExhausted(
            f"ulimit -v allows {allowed / 2**30:.1f} GiB of address space, of which jax and its threads take "
            f"{ADDRESS_SPACE / 2**30:.1f} GiB before anything is trained; raise it: ulimit -v unlimited"
        )


def _in_library(flag: str) -> bool:
    """Say whether jaxlib's library contains the name of a flag: that of one it knows."""
    name = flag.lstrip("-").partition("=")[0].encode()
    from importlib import metadata  # takes 30 ms

    found = [Path(str(f.locate())) for f in metadata.files("jaxlib") or () if f.name.startswith("libjax_common")]
    if not found:
        return False
    with found[0].open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(name + b"\0") >= 0


def _probe(flags: list[str]) -> None:
    """Let another process start jax with this environment, and say what it does not survive."""
    try:
        tried = subprocess.run(
            [sys.executable, "-c", "import jax; jax.devices()"], capture_output=True, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    said = tried.stderr.decode(errors="replace")
    if tried.returncode and "XLA_FLAGS" in said:
        raise ConfigError(f"the environment variable XLA_FLAGS: XLA does not know {' or '.join(flags)}; remove it")
