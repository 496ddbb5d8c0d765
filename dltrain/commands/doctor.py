"""Print the environment and known problems of this machine.

Versions, devices, threads, memory, disk, caches; then problems, each with its remedy. Nothing is changed.
"""

from dltrain.config.call import Call
from dltrain.devices.doctor import diagnose
from dltrain.errors import ConfigError


def run(call: Call) -> int:
    """Inspect the environment and print the findings."""
    if call.words or call.overrides:
        raise ConfigError("doctor: takes no arguments: dltrain doctor")
    found = diagnose()
    lines = {
        "versions": "  ".join(f"{name} {version}" for name, version in found["versions"].items()),
        "system": found["host"],
        "devices": ", ".join(found["devices"]),
        **{name: found[name] for name in ("threads", "memory", "disk", "cache")},
        "git": found["git"] or "the current folder is not a git repository",
    }
    for name, text in lines.items():
        print(f"{name:<10}{text}")
    problems = found["problems"]
    for problem in problems:
        print(f"problem   {problem}")
    print(f"{len(problems)} problems found" if problems else "no problem found")
    return 0
