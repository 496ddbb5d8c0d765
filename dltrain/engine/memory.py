"""How much memory there is, on the device and on the host."""

import os
from pathlib import Path

import jax

SHARE = 0.4  # of the memory that is there may be the data set; the rest is for the model and its activations


def room_for_data() -> int:
    """Return how many bytes of data may stay on the device."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return int(SHARE * stats.get("bytes_limit", host_memory()))


def host_memory() -> int:
    """Return the bytes that this process may have: of the machine, or of its control group if that is less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError):  # no control group, or "max"
            continue
    return min(limits)
