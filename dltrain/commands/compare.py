"""Compare runs: their configs and results side by side: dltrain compare RUN RUN ...

Runs whose configs differ only in the seed are one group, with mean, standard deviation and a 95 % interval. For two
groups or more it says whether their difference is larger than the spread across seeds. The page (output) also has
the config differences and the curves of all runs; it loads nothing. The folder of a sweep means all of its
jobs; dltrain compare SWEEP prints and writes what the sweep ended with: table, importance, figures, best config.
The folder of dltrain crossval or dltrain seeds is concluded again in the same way.
"""

from dltrain.config.call import Call
from dltrain.report.comparison import compare
from dltrain.report.console import Screen, print_warning
from dltrain.report.html.comparison import terminal_table, write_comparison
from dltrain.report.html.run import html_path
from dltrain.report.sweep import compare_sweep, the_sweep
from dltrain.report.sweeps.jobs import job_folders
from dltrain.runs.repeat import read_repeat
from dltrain.sweep.repeat import conclude_repeat

PAGE = "comparison.html"


def run(call: Call) -> int:
    """Compare the runs, print a table and what it means, and write the page."""
    call.check_only_options("compare")
    output = call.options["output"]
    html_path(output or PAGE)
    if call.options["split"] == "auto" and (folder := the_sweep(call.words)):
        if output is None and read_repeat(folder):
            conclude_repeat(folder, job_folders(folder))
        else:
            compare_sweep(folder, output)
        return 0
    found, screen = compare(call.words, split=call.options["split"]), Screen()
    for line in (*found.warnings, *found.notes):
        print_warning(f"warning: {line}")
    title = f"{len(found.records)} runs, each at its best state; ranked by {found.split}/{found.metric}"
    screen.table(title, *terminal_table(found))
    screen.say()
    for line in found.verdicts():
        screen.say(line, result=True)
    screen.say(f"page    {write_comparison(found, output or PAGE)}", result=True, whole=True)
    return 0
