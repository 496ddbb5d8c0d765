"""Export a run's model for use without dltrain: dltrain export RUN output=model/.

The folder gets model.stablehlo, which jax runs on CPU, CUDA and TPU, for any number of examples; load.py, which
uses it with jax, flatbuffers and numpy alone; signature.json; the weights as safetensors; and the config.
format=onnx adds model.onnx, format=safetensors writes the weights alone. jax2onnx may be installed in another
environment: python=PATH. Each export is compared with the model on 256 examples of the run's data, or of
examples=FILE.npz; if it differs, nothing is written. The examples are kept in the folder, unless
keep_examples=false. dltrain export model/ refresh=true exports again with the jax of today, without the run. Other
options are output (null: export/NAME), overwrite, and checkpoint (best, last, or a step). Any other key changes
the run's own config for this export, such as runtime.precision=float32.
"""

import shlex
from pathlib import Path

from dltrain.config.call import Call
from dltrain.errors import ConfigError
from dltrain.inference.called import called_folder
from dltrain.inference.export.make import Exported, Options, export_run, read_export, refresh_export
from dltrain.inference.export.write import is_export
from dltrain.inference.run import Run
from dltrain.report.console import Screen, print_warning


def run(call: Call) -> int:
    """Export a run, or an exported folder again, and print what was checked and written."""
    options, former = call.options, []

    def check(path: Path) -> None:
        if is_export(path) and not options["refresh"]:
            raise ConfigError(f"export: {path} is an export itself; refresh=true exports its model again")
        if options["refresh"]:
            former.extend(read_export(path)["formats"])

    folder, composed = called_folder(call, "export", check=check)
    typed = {word.partition("=")[0] for word in call.overrides}
    format = options["format"] if "format" in typed or not former else former[-1]
    chosen = Options(format, options["python"], options["keep_examples"], options["overwrite"])
    if options["refresh"]:
        found = refresh_export(folder, composed, options["output"], examples=options["examples"], options=chosen)
    else:
        opened = Run(folder, composed, checkpoint=options["checkpoint"], warn=print_warning)
        output = options["output"] or Path("export", folder.path.absolute().name)
        print_warning(f"{folder.path}, checkpoint of step {opened.step}")
        found = export_run(opened, composed, output, examples=options["examples"], options=chosen)
    _show(Screen(), found)
    return 0


def _show(screen: Screen, found: Exported) -> None:
    for name, checked in found.checks.items():
        screen.say(f"checked   {name} on {checked.examples} examples of {found.origin}: {checked.words}")
    if found.rows:
        screen.say(f"          load.py encodes {found.rows} rows as dltrain does")
    sizes = (f"{name} {_size(size)}" for name, size in found.files.items())
    screen.say(f"written   {found.path}: {', '.join(sizes)}")
    if "stablehlo" in found.checks:
        command = f"dltrain export {shlex.quote(str(found.path))} refresh=true"
        screen.say(f"readable  by newer versions of jax until {found.readable_until}; then {command}")
    if found.kept:
        screen.say("note      examples.npz holds these examples of the data; keep_examples=false leaves them out")


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
