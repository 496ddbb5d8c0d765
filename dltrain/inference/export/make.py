"""Export of the model of a run, and of an exported folder again: every file is made, checked, and then written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from dltrain.config.call import Composed
from dltrain.errors import CheckpointError, DataError
from dltrain.inference.bundle import Bundle
from dltrain.inference.export import examples as kept
from dltrain.inference.export import load_template, onnx, signature, stablehlo, weights, write
from dltrain.inference.export.check import Checked
from dltrain.inference.export.examples import Examples
from dltrain.inference.export.function import Calls, input_shapes, make_function, not_exported
from dltrain.inference.export.reference import Reference, check_rows, count
from dltrain.inference.open import open_weights
from dltrain.inference.run import Run
from dltrain.ops import lowering
from dltrain.runs.files import Files, digest
from dltrain.runs.folder import RunFolder
from dltrain.runs.sealed import read_sealed, seal

Format = Literal["stablehlo", "onnx", "safetensors"]
WITH = {"stablehlo": ("stablehlo",), "onnx": ("stablehlo", "onnx"), "safetensors": ()}
"""Format -> what is exported besides the weights."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the folder.
        files: name -> bytes.
        checks: format -> how it compares with the model.
        origin: where the examples are from.
        rows: how many of them load.py also encoded from rows.
        readable_until: the last day on which new versions of jax read the export.
        kept: whether examples.npz was written.
    """

    path: Path
    files: dict[str, int]
    checks: dict[str, Checked]
    origin: str
    rows: int
    readable_until: str
    kept: bool


@dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        format: stablehlo; onnx for both; safetensors for the weights alone.
        python: the Python of an environment with jax2onnx, None for this one.
        keep_examples: whether the examples that were checked are written, too.
        overwrite: whether an export that is there is replaced.
    """

    format: Format = "stablehlo"
    python: str | None = None
    keep_examples: bool = True
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class _Model:
    """A model to export, with the texts that it can be rebuilt from."""

    bundle: Bundle
    composed: Composed
    saved: Mapping[str, Any]  # model.json
    about: Mapping[str, Any]  # the run
    examples: Examples
    decisions: Mapping[str, np.ndarray] = field(default_factory=dict)  # those of a former export


def export_run(
    run: Run, composed: Composed, output: str | Path, *, examples: str | None = None, options: Options = Options()
) -> Exported:
    """Export the model of a run into a folder, checked on examples of its data.

    Args:
        run: the run.
        composed: its checked config, with what was changed for this call.
        output: the folder to write.
        examples: an .npz file with inputs to check with, instead of the data of the run.
        options: what to write.

    Raises:
        ConfigError: something cannot be exported, differs from the model, or the folder is taken.
        DataError: there are no examples to check with.
    """
    path = write.output_path(output)
    write.check_free(path, overwrite=options.overwrite)
    bundle = run.bundle
    bundle.check_predicts("export")
    python = onnx.find_python(options.python) if options.format == "onnx" else None
    if examples is not None:
        found = kept.of_file(bundle, examples)
    else:
        parts = run.data(reason="export", instead="examples=FILE.npz takes inputs to check the export with")
        found = kept.of_run(bundle, parts, composed)
    about = {"run": read_sealed(run.folder.model).get("run", ""), "step": run.step}
    model = _Model(bundle, composed, read_sealed(run.folder.model), about, found)
    return _export(model, path, options, python=python)


def refresh_export(
    folder: RunFolder,
    composed: Composed,
    output: str | Path | None = None,
    *,
    examples: str | None = None,
    options: Options = Options(),
) -> Exported:
    """Export the model of an exported folder again, with the jax of today; its run is not needed.

    Args:
        folder: the exported folder.
        composed: its config, checked.
        output: the folder to write; None: the same.
        examples: an .npz file with inputs to check with, if the export has none.
        options: what to write.

    Raises:
        CheckpointError: a file of the export is missing or damaged.
    """
    place = folder.path
    about = read_export(place)
    path = write.output_path(place if output is None else output)
    same = path == write.output_path(place)
    write.check_free(path, overwrite=options.overwrite or same)
    leaves = weights.read_weights(place / weights.FILE)
    bundle = open_weights(folder, composed, leaves)
    bundle.check_predicts("export")
    python = onnx.find_python(options.python) if options.format == "onnx" else None
    decisions: Mapping[str, np.ndarray] = {}
    if examples is not None:
        found = kept.of_file(bundle, examples)
    elif kept.FILE in about["files"]:
        found, decisions = kept.from_npz(place / kept.FILE, bundle)
    else:
        raise DataError(f"{place} has no {kept.FILE}; examples=FILE.npz takes inputs to check the export with")
    model = _Model(bundle, composed, read_sealed(folder.model), about["run"], found, decisions)
    options = Options(options.format, options.python, options.keep_examples, options.overwrite or same)
    return _export(model, path, options, python=python)


def read_export(folder: Path) -> dict[str, Any]:
    """Read the signature of an exported folder, and check every file that it lists.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    about = signature.read_signature(folder)
    for name, expected in about["files"].items():
        if name not in write.NAMES or not isinstance(expected, dict):
            raise CheckpointError(f"{folder / signature.FILE} is damaged: it lists {name!r:.40}")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} cannot be read: file not found")
        if digest(folder / name) != expected.get("sha256"):
            raise CheckpointError(f"{folder / name} is damaged, or was edited: it does not have its SHA-256")
    return about


def _export(model: _Model, path: Path, options: Options, *, python: str | None) -> Exported:
    reference, checks = Reference.of(model.bundle, model.examples, model.decisions), {}
    files = _files(model)
    if "stablehlo" in WITH[options.format]:
        files[stablehlo.FILE] = content = stablehlo.to_stablehlo(model.bundle)
        files[write.LOAD] = Path(load_template.__file__).read_bytes()
        checks["stablehlo"] = reference.check(stablehlo.run_stablehlo(content), "the StableHLO export")
    described = _described(model, path.name, options, reference)
    rows = check_rows(described, model.examples)
    with write.new_folder(path, overwrite=options.overwrite) as folder:
        for name, content in files.items():
            folder.replace(name, content)
        if options.format == "safetensors":
            checks["safetensors"] = reference.check(
                _from_weights(model, folder), "the model of the written weights"
            )
        if python is not None:
            found = onnx.convert(folder, model.composed, reference.inputs, python=python)
            files[write.ONNX] = (folder.path / write.ONNX).read_bytes()
            described["versions"] |= {f"onnx export: {name}": number for name, number in found["versions"].items()}
            answers = {False: found["found"], True: found["alone"]}
            checks["onnx"] = reference.check(lambda given: answers[count(given) == 1], "the ONNX export")
        ties = np.logical_or.reduce([np.zeros(reference.count, bool), *(found.ties for found in checks.values())])
        if options.keep_examples:
            files[kept.FILE] = kept.write(folder, kept.to_npz(model.examples, reference.expected, ~ties))
        described["check"] = _summary(model.examples, checks, ties)
        described["files"] = signature.file_hashes(files)
        files[signature.FILE] = folder.replace_json(signature.FILE, seal(described))
    sizes = {name: len(content) for name, content in files.items()}
    return Exported(
        path, sizes, checks, model.examples.origin, rows, described["readable_until"], options.keep_examples
    )


def _from_weights(model: _Model, folder: Files) -> Any:
    """Return the decisions of the model that is rebuilt from the files of an export."""
    leaves = weights.read_weights(folder.path / weights.FILE)
    bundle = open_weights(RunFolder(folder.path), model.composed, leaves)
    several = len(bundle.raw_spec.inputs) > 1
    return lambda given: dict(bundle.decisions(dict(given) if several else next(iter(given.values()))))


def _files(model: _Model) -> dict[str, bytes]:
    """Return the files that the model can be rebuilt from."""
    saved = {name: value for name, value in model.saved.items() if name != "checksum"}
    return {
        weights.FILE: weights.to_safetensors(model.bundle),
        write.CONFIG: model.composed.text.encode("utf-8"),
        write.MODEL: json.dumps(seal(saved), indent=2).encode("utf-8"),
    }


def _described(model: _Model, name: str, options: Options, reference: Reference) -> dict[str, Any]:
    return {
        "format": signature.MARK,
        "version": signature.VERSION,
        "name": name,
        **signature.describe(model.bundle, _shapes(model.bundle), config=model.composed.config),
        **signature.written(),
        "formats": list(WITH[options.format]),
        "tolerance": reference.tolerance,
        "run": dict(model.about),
    }


def _summary(examples: Examples, checks: Mapping[str, Checked], ties: np.ndarray) -> dict[str, Any]:
    largest = {name: found.largest for name, found in checks.items()}
    return {
        "examples": len(ties),
        "origin": examples.origin,
        "largest_difference": largest,
        "ties": int(ties.sum()),
    }


def _shapes(bundle: Bundle) -> dict[str, Any]:
    """Return the shapes of the decisions of any number of examples."""
    calls = Calls()
    try:
        with lowering.stock():
            return jax.eval_shape(make_function(bundle, calls), input_shapes(bundle))
    except Exception as error:
        raise not_exported(calls.failed, error) from error
