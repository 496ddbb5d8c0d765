"""Write a commented YAML to start from: dltrain init data=table data.path=houses.csv data.target=price.

The data is read, what was found is printed, and every choice is written as a comment to an experiment file
(output; null: conf/experiment/NAME.yaml), which trains unchanged: dltrain --config-dir conf experiment=NAME. Of a
table without data.target the target is guessed. Any further key is written to the file, too. A file that exists is
not overwritten.
"""

import shlex
from pathlib import Path

from dltrain.build.look import look_at
from dltrain.composition.own_data import compose_data, name_of
from dltrain.config.call import Call
from dltrain.devices import runtime
from dltrain.errors import ConfigError
from dltrain.report.console import Screen
from dltrain.report.inspection import show_description
from dltrain.report.starter import starter
from dltrain.runs.files import Files

LIKE = "output=conf/experiment/NAME.yaml"


def run(call: Call) -> int:
    """Read the data, write the file, and print what to type next."""
    if call.words:
        raise ConfigError(f"{call.words[0]}: name the data by its keys: dltrain init data=table data.path=FILE")
    composed, words, guessed = compose_data(call, {})
    path = _path(call, words)
    runtime.start(**composed.config["runtime"])
    look, screen = look_at(composed.config, composed.trust), Screen()
    show_description(screen, look)
    for line in (guessed, *(f"{key:<7} {why}" for key, why in composed.automatic.items())):
        screen.say(line, result=True) if line else None
    command = f"dltrain --config-dir {shlex.quote(str(path.parent.parent))} experiment={path.stem}"
    trust = [f"trust=[{','.join(composed.trust)}]"] if composed.trust else []
    files = Files(path.parent)
    files.replace_text(path.name, starter(composed, look, words, command))
    data = " ".join(shlex.quote(word) for word in words if word.startswith("data"))
    screen.say(f"written {path}", result=True, whole=True)
    screen.say(f"next    {' '.join([command, *trust])}", result=True, whole=True)
    screen.say(f"        dltrain inspect {data}", result=True, whole=True)
    return 0


def _path(call: Call, words: list[str]) -> Path:
    """Return where to write, which must be free, and in a folder where dltrain finds experiments."""
    typed = {key: value for key, _, value in (word.partition("=") for word in words)}
    folder = call.folders[1] if len(call.folders) > 1 else Path("conf")
    path = Path(call.options["output"] or folder / "experiment" / f"{name_of(typed)}.yaml").expanduser()
    if path.suffix != ".yaml" or path.parent.name != "experiment":
        raise ConfigError(f"output={path}: must be a YAML in a folder named experiment, such as {LIKE}")
    if path.exists():
        raise ConfigError(f"{path}: exists, and is not overwritten; give another name: {LIKE}")
    return path
