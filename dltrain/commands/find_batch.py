"""Find a batch size by its speed and memory: dltrain find-batch data=digits model=cnn.

The training step is compiled and timed with growing batch sizes (smallest, twice that, ...; each for `seconds`)
until one does not fit into the memory, the training set is smaller, or larger ones are no faster. Recommended is
the smallest size with at least 95 % of the best speed, and the command that trains with it is printed. The numbers
and a figure are written to a folder (output; null: find-batch/NAME). All other keys are those of training. No run
is made or changed. Ctrl-C shows what has been measured.
"""

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.callbacks.signals import Signals
from dltrain.config.call import Call
from dltrain.devices import runtime
from dltrain.errors import ConfigError, Interrupted
from dltrain.report.console import Screen
from dltrain.report.found import epochs_note, folder_for, show_sizes, write_sizes
from dltrain.tuning.batches import measure_sizes


def run(call: Call) -> int:
    """Measure the batch sizes, print and write them, and print what to type next."""
    if call.words:
        raise ConfigError(f"{call.words[0]}: dltrain find-batch takes group=choice and key=value only")
    if typed := next((word for word in call.overrides if word.lstrip("+").startswith("batch_size=")), None):
        raise ConfigError(f"{typed}: find-batch tries several batch sizes; set smallest and largest")
    composed, options = call.compose(), call.options
    config, files = composed.config, folder_for(composed, "find-batch", options["output"])
    runtime.start(**config["runtime"])
    parts, screen, signals = assemble(config, composed.trust), Screen(quiet=config["quiet"]), Signals()
    asked = {name: options[name] for name in ("smallest", "largest", "seconds")}
    with signals.caught():
        found = measure_sizes(parts, make_plan(config, parts), **asked, stop=lambda: signals.received is not None)
    show_sizes(found, screen)
    if written := write_sizes(found, composed, call.training_words(), files):
        screen.say(f"files   {files.path}/: {', '.join(written)}", result=True)
    if found.recommended is not None:
        size = f"batch_size={found.recommended}"
        screen.say(f"take    {size}, the smallest with at least 95 % of the best speed", result=True)
        if changed := epochs_note(parts, found.recommended):
            screen.say(f"note    {changed}", result=True)
        screen.say(f"next    {call.training_command(size)}", result=True, whole=True)
        again = call.training_command(size, command="find-lr")
        screen.say(
            f"        {again}, since another batch size needs another learning rate", result=True, whole=True
        )
    if found.stopped:
        raise Interrupted(f"find-batch: {found.reason}")
    return 0
