"""Find a learning rate by a short training: dltrain find-lr data=digits model=cnn optim=adam.

A learning rate range test: each of `rates` steps (100) has a larger learning rate than the last, from lowest to
highest, on the batches of the run. Printed are three suggestions from the curve of the loss, and the command that
trains with the recommended one. The curve and a figure are written to a folder (output; null: find-lr/NAME). All
other keys are those of training; the schedule is left out. No run is made or changed.
"""

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.config.call import Call
from dltrain.devices import runtime
from dltrain.errors import ConfigError
from dltrain.report.console import Screen, print_warning
from dltrain.report.found import folder_for, show_rates, write_rates
from dltrain.tuning.rates import range_test, rate_words


def run(call: Call) -> int:
    """Try the learning rates, print the suggestions, write the curve, and print what to type next."""
    if call.words:
        raise ConfigError(f"{call.words[0]}: dltrain find-lr takes group=choice and key=value only")
    composed, options = call.compose(), call.options
    config, files = composed.config, folder_for(composed, "find-lr", options["output"])
    if config["task"]["monitor"] is None:
        print_warning("warning: the loss of this task need not fall while the model learns; the test may mislead")
    runtime.start(**config["runtime"])
    parts, screen = assemble(config, composed.trust), Screen(quiet=config["quiet"])
    asked = {name: options[name] for name in ("lowest", "highest", "rates")}
    found = range_test(parts, make_plan(config, parts), **asked, init_from=config["init_from"], warn=print_warning)
    show_rates(found, screen)
    written = write_rates(found, composed, call.training_words(), files)
    screen.say(f"files   {files.path}/: {', '.join(written)}", result=True)
    if one := found.recommended:
        words = rate_words(config["optim"], one.learning_rate)
        screen.say(f"take    {one.rule}, the middle one: {' '.join(words)}", result=True)
        screen.say(f"next    {call.training_command(*words)}", result=True, whole=True)
    return 0
