"""Write one HTML file about a run, to share it, and a model card: dltrain report RUN.

The page holds results, curves, figures, data, config, environment and how to run it again; it loads nothing. The
card, MODEL_CARD.md, is written into the run folder, unless somebody has edited it. Neither needs the data.
"""

from dltrain.config.call import Call
from dltrain.errors import ConfigError
from dltrain.report.console import Screen
from dltrain.report.html.run import write_report
from dltrain.runs.folder import existing


def run(call: Call) -> int:
    """Write the report of one run, and print where it is."""
    if len(call.words) > 1:
        raise ConfigError("report: name one run folder; dltrain compare RUN RUN shows several side by side")
    if not call.words:
        raise ConfigError("report: name one run folder: dltrain report outputs/DATE/TIME-NAME")
    call.check_only_options("report")
    page, card = write_report(existing(call.words[0]), call.options["output"])
    screen = Screen()
    screen.say(f"report  {page}", result=True, whole=True)
    kept = "MODEL_CARD.md was edited and is kept; delete it to have it written again"
    screen.say(f"card    {card or kept}", result=True, whole=True)
    return 0
