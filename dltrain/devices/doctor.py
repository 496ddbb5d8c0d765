"""The environment of a run and its known problems, printed by `dltrain doctor`."""

import contextlib
import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from dltrain.cache import cache_folder
from dltrain.devices import memory, runtime

LEAST_DISK = 2**30  # bytes; with less, checkpoints of a small model soon fill the disk
LEAST_MEMORY = 2**30  # bytes; with less, jax hardly starts


def diagnose() -> dict[str, Any]:
    """Return versions, devices, threads, memory, disk and cache, and a list of problems, each with a remedy.

    The only environment variables shown are PJRT_NPROC and, as part of the path, DLTRAIN_CACHE.
    """
    found = runtime.environment()
    disk, cache = shutil.disk_usage(Path.cwd()).free, cache_folder()
    return found | {
        "threads": f"{found['cores']} cores; PJRT_NPROC={os.environ.get('PJRT_NPROC', 'not set')}",
        "memory": f"{memory.device_room()} are free",
        "disk": f"{memory.shown(disk)} free in {Path.cwd()}",
        "cache": f"{cache}, {memory.shown(_size(cache))}",
        "problems": [*_versions(), *_devices(found["devices"]), *_places(disk, cache)],
    }


def _versions() -> list[str]:
    """Compare the installed versions with the tested ones."""
    found = []
    try:
        requirements = metadata.requires("dltrain") or ()
    except metadata.PackageNotFoundError:  # run from a source checkout
        requirements = ()
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker is None and not wanted.specifier.contains(installed := metadata.version(wanted.name)):
            found.append(
                f"{wanted.name} {installed} is installed, dltrain needs {wanted.specifier}: pip install -U dltrain"
            )
    jax, jaxlib = metadata.version("jax"), metadata.version("jaxlib")
    if jax.split(".")[:3] != jaxlib.split(".")[:3]:
        found.append(f"jax {jax} and jaxlib {jaxlib} differ: pip install 'jax=={jax}' 'jaxlib=={jax}'")
    return found


def _devices(devices: list[str]) -> list[str]:
    found = []
    if Path("/dev/nvidia0").exists() and all(name.startswith("cpu") for name in devices):
        found.append("this machine has an NVIDIA GPU, but jax has no plugin for it: pip install 'jax[cuda13]'")
    if os.environ.get("JAX_ENABLE_X64", "").lower() in ("1", "true"):
        found.append("JAX_ENABLE_X64 is set: float64 is slow and untested; unset it")
    if os.environ.get("JAX_DISABLE_JIT", "").lower() in ("1", "true"):
        found.append("JAX_DISABLE_JIT is set, and dltrain has to compile; unset it")
    return found


def _places(disk: int, cache: Path) -> list[str]:
    found = []
    if disk < LEAST_DISK:
        found.append(
            f"only {memory.shown(disk)} of the disk are free here; a run that fills it ends with exit code 6"
        )
    if (room := memory.host_room()).bytes < LEAST_MEMORY:
        found.append(f"only {room} are free; jax needs about {memory.shown(LEAST_MEMORY)}")
    for what, folder in (("runs are written to", Path.cwd()), ("compiled programs are kept in", cache)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            found.append(f"{what} {folder}, which cannot be written: {error.strerror}")
    return found


def _size(folder: Path) -> int:
    """Return the bytes of all files; a file that another process deletes meanwhile counts as 0."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(f"{path}/{name}").st_size
    return total
