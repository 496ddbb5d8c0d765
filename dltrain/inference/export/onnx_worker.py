"""The process that converts a model to ONNX: `python -m dltrain.inference.export.onnx_worker < request.json`.

It runs in the environment with jax2onnx. The model is traced before jax2onnx is imported, which replaces functions
of jax and flax; what jax2onnx is given has operations of lax only. Computation is in float32: onnxruntime has few
operations of bfloat16 on CPUs.
"""

import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dltrain import __version__
from dltrain.config.call import Composed
from dltrain.devices.precision import FLOAT32
from dltrain.errors import ConfigError, DltrainError
from dltrain.inference.bundle import Bundle
from dltrain.inference.export.function import Calls, equations, input_shapes, not_exported, traced
from dltrain.inference.export.onnx import ANSWER, FOUND, INPUTS
from dltrain.inference.export.rewrite import simplified
from dltrain.inference.export.weights import FILE, from_safetensors
from dltrain.inference.open import open_weights
from dltrain.runs.folder import RunFolder
from dltrain.runs.sealed import read_bytes
from dltrain.tree import widened

SEVERE = 3  # onnxruntime then logs errors only


def main() -> None:
    """Read the request, and write model.onnx, its outputs and an answer into the folder."""
    request = json.load(sys.stdin)
    folder = Path(request["folder"])
    sys.path.append(str(Path.cwd()))  # where user packages often are
    try:
        if request["version"] != __version__:
            raise ConfigError(f"format=onnx: {sys.executable} has dltrain {__version__}, not {request['version']}")
        answer: dict[str, Any] = {"versions": _convert(folder, request["config"], tuple(request["trust"]))}
    except DltrainError as error:
        answer = {"error": str(error)}
    (folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _convert(folder: Path, config: dict[str, Any], trust: tuple[str, ...]) -> dict[str, str]:
    run = RunFolder(folder)
    leaves = from_safetensors(read_bytes(folder / FILE), str(folder / FILE))
    bundle = open_weights(run, Composed(config, "", trust=trust), leaves)
    bundle = replace(
        bundle, precision=FLOAT32, params=widened(bundle.params), model_state=widened(bundle.model_state)
    )
    content = to_onnx(bundle)
    with np.load(folder / INPUTS, allow_pickle=False) as saved:
        inputs = {name: saved[name] for name in saved.files}
    found = run_onnx(content)
    try:
        one, single = found(inputs), found({name: array[:1] for name, array in inputs.items()})
    except Exception as error:
        raise ConfigError(
            f"export: onnxruntime cannot run what jax2onnx made of the model: {_short(error)}"
        ) from error
    arrays = {f"found.{name}": array for name, array in one.items()}
    np.savez(folder / FOUND, allow_pickle=False, **arrays, **{f"alone.{n}": array for n, array in single.items()})
    (folder / "model.onnx").write_bytes(content)
    return {name: metadata.version(name) for name in ("jax", "jax2onnx", "onnx", "onnxruntime")}


def to_onnx(bundle: Bundle) -> bytes:
    """Return the function of a model as an ONNX file, with named inputs and outputs and a free batch dimension.

    Raises:
        ConfigError: an operation cannot be converted; names its layer, and why.
    """
    closed, shapes, calls = traced(bundle)
    specs, names = input_shapes(bundle), sorted(input_shapes(bundle))  # the order of a dict in a jaxpr
    try:
        rewritten = simplified(closed)
        import jax2onnx

        # With the dimension of the trace: another one would not be equal to it.
        given = [
            jax.ShapeDtypeStruct(var.aval.shape, specs[n].dtype)
            for n, var in zip(names, closed.jaxpr.invars, strict=True)
        ]
        model = jax2onnx.to_onnx(
            lambda *inputs: tuple(rewritten(*inputs)),
            given,
            model_name="dltrain",
            input_names=names,
            output_names=sorted(shapes),
        )
        return model.SerializeToString()
    except Exception as error:
        raise not_exported(_layer(error, closed, calls), error, " to ONNX") from error


def _layer(error: Exception, closed: Any, calls: Calls) -> str:
    """Return the layers with the operation that jax2onnx failed at: the file of its converter is named after it."""
    known = {equation.primitive.name for _, equation in equations(closed)}
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    stems = [Path(file).stem for file in files if "jax2onnx" in file and "plugins" in file]
    named = [name for name in known if f"'{name}'" in str(error)]
    operation = next((name for name in (*named, *reversed(stems)) if name in known), None)
    if operation is None:
        return ""
    layers = calls.layers_with(closed, operation)
    where = f"{', '.join(layers[:3])}{' and others' * (len(layers) > 3)}: " if layers else ""
    return f"{where}the operation {operation}"


def run_onnx(content: bytes) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Return a function that runs an ONNX file in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = SEVERE
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names, taken = [o.name for o in session.get_outputs()], {i.name for i in session.get_inputs()}

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: array for name, array in inputs.items() if name in taken}
        return dict(zip(names, session.run(names, given), strict=True))

    return run


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


if __name__ == "__main__":
    main()
