"""What may be set under `hydra`, on the command line and in an experiment's YAML, and alternatives to the rest.

Hydra can call any function that its config names. So only plain settings pass, from a list, and never a `_target_`:
launchers and sweepers are chosen by name, from Hydra's own packages and its plugins'.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dltrain.config.places import param_fault

GROUP = re.compile(r"hydra/(launcher|sweeper|job_logging|hydra_logging)(/\w+)*")
"""The groups of Hydra that users may choose from."""

DEFAULT = re.compile(rf"override /{GROUP.pattern}")
"""The same in the defaults list of an experiment."""

TYPED = re.compile(
    r"hydra\.(mode|verbose|run\.dir|sweep\.(dir|subdir)|(launcher|sweeper)(\.[\w./@+-]+)+"
    r"|job\.config\.override_dirname\.\w+)"
)
"""The keys that may be typed."""

LAUNCHER = (
    *("n_jobs", "prefer", "require", "verbose", "timeout", "pre_dispatch", "batch_size", "max_nbytes", "mmap_mode"),
    *(
        "timeout_min",
        "cpus_per_task",
        "gpus_per_node",
        "gpus_per_task",
        "tasks_per_node",
        "mem_gb",
        "nodes",
        "name",
    ),
    *("partition", "qos", "account", "comment", "constraint", "exclude", "gres", "cpus_per_gpu", "mem_per_gpu"),
    *("mem_per_cpu", "max_num_timeout", "signal_delay_s", "array_parallelism", "stderr_to_stdout"),
)
SWEEPER = ("direction", "study_name", "storage", "n_trials", "n_jobs", "max_failure_rate", "max_batch_size")
FILE = {
    "mode": None,
    "verbose": None,
    "sweep": ("subdir",),
    "launcher": LAUNCHER,
    "sweeper": (*SWEEPER, "params", "sampler"),
}
"""What an experiment's `hydra:` may hold. Its file may come from somebody else: shell commands are left out."""

INSTEAD = {
    "hydra.callbacks": "dltrain does not let Hydra call code; choose training callbacks with callbacks=[...]",
    "hydra/callbacks": "dltrain does not let Hydra call code; choose training callbacks with callbacks=[...]",
    "hydra.searchpath": "add a folder of YAML with -cd DIR",
    "hydra.job.name": "name a run with name=NAME",
    "hydra.job.chdir": "dltrain never changes the working folder",
    "hydra.job.env_set": "set it in the shell: NAME=VALUE dltrain ...",
    "hydra.job_logging": "choose one by name: hydra/job_logging=stdout",
    "hydra.hydra_logging": "choose one by name: hydra/hydra_logging=default",
    "hydra.output_subdir": "a run's config is config.yaml in its folder",
    "hydra/output": "name the folder with hydra.run.dir=... or hydra.sweep.dir=...",
}
KNOWN = (
    "hydra/launcher, hydra/sweeper, hydra.launcher, hydra.sweeper, hydra.run.dir, hydra.sweep.dir, "
    "hydra.sweep.subdir, hydra.mode, hydra.verbose, hydra/job_logging and hydra/hydra_logging"
)


def is_hydra(key: str) -> bool:
    """Tell whether a key belongs to Hydra's own node."""
    return re.split(r"[./@]", key)[0] == "hydra"


def typed_fault(key: str, text: str, trust: tuple[str, ...]) -> str:
    """Return why a typed key of Hydra's may not be set, "" if it may."""
    if "_target_" in key or "_target_" in text or "_args_" in key:
        return f"{key}={text}: a launcher or sweeper is chosen by name: hydra/launcher=joblib"
    if key == "hydra.sweeper.custom_search_space" and text.split(".")[0] not in trust:
        return f"{key}={text}: names user code; allow its package with trust=[{text.split('.')[0]}]"
    if key.startswith("hydra.sweeper.params") and re.search(r"\bhydra\b", f"{key[20:]} {text}"):
        return f"{key}={text}: a parameter of a sweep must be a key of dltrain"
    if GROUP.fullmatch(key) or TYPED.fullmatch(key):
        return ""
    for prefix, way in INSTEAD.items():
        if key == prefix or key.startswith((f"{prefix}.", f"{prefix}/", f"{prefix}@")):
            return f"{key}={text}: {way}"
    return f"{key}={text}: cannot be set in dltrain; of hydra you can set {KNOWN}"


def file_fault(node: Any) -> str:
    """Return what in an experiment's `hydra:` may not be set there, "" if all of it may."""
    if not isinstance(node, Mapping):
        return "hydra: must be a mapping"
    for key, value in node.items():
        if key not in FILE:
            way = INSTEAD.get(f"hydra.{key}", f"an experiment may set {', '.join(FILE)}")
            return f"hydra.{key}: {way}"
        inside = value if isinstance(value, Mapping) else {}
        if FILE[key] is not None and not isinstance(value, Mapping):
            return f"hydra.{key}: must be a mapping"
        if wrong := next((k for k in inside if k not in (FILE[key] or ())), None):
            return f"hydra.{key}.{wrong}: may only be set on the command line"
    sweeper = node.get("sweeper", {})
    if wrong := next((k for k in sweeper.get("params") or {} if is_hydra(str(k).lstrip("+~"))), None):
        return f"hydra.sweeper.params: {wrong}: a parameter of a sweep must be a key of dltrain"
    params = sweeper.get("params") or {}
    if fault := next((f for k, v in params.items() if (f := param_fault(str(k), v))), ""):
        return fault
    if not re.fullmatch(r"sqlite:///\w[\w.-]*", str(sweeper.get("storage") or "sqlite:///x")):
        return "hydra.sweeper.storage: may only be sqlite:///FILE here, by a plain name; type others"
    if any(str(key).startswith("_") or "_target_" in str(value) for key, value in _leaves(node)):
        return "hydra: _target_: a launcher or sweeper is chosen by name: - override /hydra/sweeper: optuna"
    return ""


def is_plugin(word: Any, choice: Any) -> bool:
    """Tell whether an entry of a defaults list chooses a launcher, a sweeper or a logging config by name."""
    return bool(DEFAULT.fullmatch(str(word))) and bool(re.fullmatch(r"\w+", str(choice)))


def _leaves(node: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        yield key, value
        if isinstance(value, Mapping | list):
            yield from _leaves(value)
