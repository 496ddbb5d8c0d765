"""Export as ONNX through jax2onnx, in a process of its own: jax2onnx replaces functions of jax and flax.

It pins older libraries than dltrain needs, so it may be in another environment; nothing is installed here.
"""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dltrain import __version__
from dltrain.config.call import Composed
from dltrain.errors import ConfigError
from dltrain.runs.files import Files

WORKER = "dltrain.inference.export.onnx_worker"
INPUTS, FOUND, ANSWER = "onnx_inputs.npz", "onnx_found.npz", "onnx_answer.json"
NEEDED = ("jax2onnx", "onnxruntime")
ENVIRONMENT = "onnx-env"


def find_python(python: str | None) -> str:
    """Return the Python that has jax2onnx: the given one, or this one.

    Raises:
        ConfigError: neither has it; the message says how to create an environment.
    """
    if python is not None:
        found = shutil.which(str(Path(python).expanduser()))
        if found is None:
            raise ConfigError(f"python={python}: no such program; expected the python of an environment")
        return found
    if lost := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f"format=onnx: {' and '.join(lost)} is not installed here, and python=PATH is not given\n{_how()}"
        )
    return sys.executable


def convert(folder: Files, composed: Composed, inputs: Mapping[str, np.ndarray], *, python: str) -> dict[str, Any]:
    """Convert the model in a folder, run it in onnxruntime on examples, and return its outputs.

    Args:
        folder: with the config, model.json and the weights; gets model.onnx.
        composed: the checked config.
        inputs: examples, [N, ...] by name.
        python: of the environment with jax2onnx.

    Returns:
        `found` and `alone`: the outputs of all examples, and of the first alone, by name; `versions`.

    Raises:
        ConfigError: it cannot be converted; names the layer and the reason.
    """
    np.savez(folder.path / INPUTS, allow_pickle=False, **inputs)
    request = {"folder": str(folder.path), "config": composed.config, "trust": list(composed.trust)}
    command = [python, "-P", "-m", WORKER]  # -P: files of the current folder do not replace modules of Python
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    try:
        text = json.dumps({**request, "version": __version__})
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment)
        if not (folder.path / ANSWER).is_file():
            raise ConfigError(f"format=onnx: {python} failed: {_last(done.stderr)}\n{_how()}")
        answer = json.loads((folder.path / ANSWER).read_text(encoding="utf-8"))
        if "error" in answer:
            raise ConfigError(answer["error"])
        with np.load(folder.path / FOUND, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
    finally:
        for name in (INPUTS, FOUND, ANSWER):
            folder.remove_file(name)
    parts = {part: {n[len(part) + 1 :]: a for n, a in arrays.items() if n.startswith(f"{part}.")} for part in PARTS}
    return {**parts, "versions": answer["versions"]}


PARTS = ("found", "alone")


def _how() -> str:
    python = f"{ENVIRONMENT}/bin/python"
    return (
        "create an environment with jax2onnx and the same version of dltrain, and name it:\n"
        f"  python3 -m venv {ENVIRONMENT}\n"
        f"  {python} -m pip install jax2onnx onnxruntime {shlex.quote(_source())}\n"
        f"  dltrain export RUN format=onnx python={python}"
    )


def _source() -> str:
    """Return what pip installs this dltrain from: its source folder, or its version."""
    root = Path(__file__).resolve().parents[3]
    return str(root) if (root / "pyproject.toml").is_file() else f"dltrain=={__version__}"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
