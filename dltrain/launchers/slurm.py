"""Train in a job of SLURM: a batch script that is written, shown, submitted, and followed until the job ends.

srun starts the processes, which find one another by themselves (`runtime.hosts=auto`). When SLURM preempts the job,
or its time is nearly over, the processes save; the job is queued again and continues with `dltrain resume`. With
`runtime.elastic=true` the script starts the processes again, on the nodes that are up, after one was lost.
"""

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.errors import ConfigError, Terminated, WorkerError
from dltrain.launchers._plan import (
    Plan,
    check_counts,
    check_devices,
    check_name,
    choose_words,
    cpu_devices,
    exports,
    fitting,
    make_plan,
    python,
    read_time,
    text,
)

EARLY = 120  # seconds before the time limit at which the run is saved
LOOK = 2.0  # seconds between two looks at the job
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL")
NEEDED = ("sbatch", "srun", "scontrol")
KILLED = 137  # exit code of srun if SIGKILL has ended a process
OVERWRITE = "$" + "{overwrite:-}"  # set by the lines that follow
IF_REQUEUED = """\
# A job that was queued again continues its run; a run without a checkpoint starts from the beginning.
[ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && overwrite=overwrite=true
"""


def launch(words: Sequence[str], options: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """Write the batch script of `dltrain WORDS`; submit and follow it, unless it is only to be shown.

    Args:
        words: the command line.
        options: those of configs/launch/slurm.yaml.
        config: what the words compose to.

    Raises:
        ConfigError: SLURM is missing, or refuses the job.
    """
    _check(options)
    nodes = nodes_that_fit(options, config)
    if not options["dry_run"]:
        _find_commands()
    elastic = config["runtime"]["elastic"]
    plan = make_plan(words, "slurm", elastic=elastic)
    path = plan.write("job.sh", script(plan, options, nodes if elastic else ()))
    if options["dry_run"]:
        print(f"not submitted (dry_run=true); submit it with: sbatch {shlex.quote(str(path))}")
        return 0
    _ask("sbatch", "--test-only", str(path))
    job = _ask("sbatch", "--parsable", str(path)).split(";")[0].strip()
    print(f"job {job} is submitted; end it with: scancel {job}", flush=True)
    if not options["follow"]:
        print(f"what it prints: {plan.folder}/console.log")
        return 0
    try:
        return follow(job, plan.folder / "console.log")
    except KeyboardInterrupt:
        print(f"\njob {job} goes on; end it with: scancel {job}; what it prints: {plan.folder}/console.log")
        raise


def _check(options: Mapping[str, Any]) -> None:
    check_counts(options, "hosts", "processes")
    check_counts(options, "gpus", "cpus", "restarts", low=0)
    check_name(options["name"])
    if options["gpus"] and options["processes"] not in (1, options["gpus"]):
        raise ConfigError(
            f"processes={options['processes']} gpus={options['gpus']}: each GPU has one process; leave out "
            "processes"
        )
    read_time(options["time"], "time")
    _further(options["sbatch"])
    text(options["setup"], "setup")
    if re.search(r"\s", text(options["partition"], "partition")):
        raise ConfigError(f"partition={options['partition']}: must be one word")


def _further(value: Any) -> list[str]:
    """Split further options of sbatch into one for each line of the script."""
    try:
        found = shlex.split(text(value, "sbatch"))
    except ValueError as error:
        raise ConfigError(f"sbatch={value}: {error}") from error
    if wrong := next((word for word in found if not re.fullmatch(r"--[a-z][\w-]*(=\S+)?", word)), None):
        raise ConfigError(f"sbatch={value}: {wrong} must be --OPTION or --OPTION=VALUE, without spaces")
    return found


def _find_commands() -> None:
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        raise ConfigError(
            f"launch slurm: {missing[0]} is not installed here; run this on a login node of a SLURM cluster, or "
            "only write the script: dry_run=true"
        )


def nodes_that_fit(options: Mapping[str, Any], config: Mapping[str, Any]) -> list[int]:
    """Return the numbers of nodes, largest first, among whose processes the batch can be divided.

    Raises:
        ConfigError: it cannot be divided among those that the options ask for.
    """
    each, devices = _tasks(options), 1 if options["gpus"] else cpu_devices()
    check_devices(config, processes=options["hosts"] * each, devices=devices)
    counts = fitting(config, options["hosts"] * each, devices=devices)
    return [count // each for count in counts if count % each == 0]


def _tasks(options: Mapping[str, Any]) -> int:
    """Return the processes of each node."""
    return options["gpus"] or options["processes"]


def script(plan: Plan, options: Mapping[str, Any], nodes: Sequence[int] = ()) -> str:
    """Return the batch script.

    Args:
        plan: the launch.
        options: those of configs/launch/slurm.yaml.
        nodes: numbers of nodes, largest first, on which a run may go on after a loss; none if it does not.
    """
    tasks = _tasks(options)
    seconds = read_time(options["time"], "time")
    directives = {
        "job-name": options["name"],
        "nodes": options["hosts"],
        "ntasks-per-node": tasks,
        "gpus-per-node": options["gpus"] or None,
        "cpus-per-task": options["cpus"] or None,
        "time": _slurm_time(seconds),
        "partition": options["partition"] or None,
        "chdir": os.getcwd(),
        "output": plan.folder / "console.log",
        "open-mode": "append",
        "signal": f"B:USR1@{min(EARLY, seconds // 4)}",
    }
    lines = [f"--{key}={value}" for key, value in directives.items() if value is not None]
    lines += ["--requeue", *(["--no-kill"] if nodes else []), *_further(options["sbatch"])]
    head = "".join(f"#SBATCH {line}\n" for line in lines)
    variables = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in exports().items())
    cores = f" --cpus-per-task={options['cpus']}" if options["cpus"] else ""
    setup = options["setup"] + "\n" if options["setup"] else ""
    requeued = "" if plan.repeats else IF_REQUEUED
    start = f'"${{on[@]}}" {python()} -m dltrain "$@" runtime.hosts=auto'
    return (
        f"#!/bin/bash\n{head}\n{variables}{setup}\n{requeued}"
        f"{choose_words(plan, again=OVERWRITE)}\n"
        "# Shortly before the time limit: save in all processes, and queue again.\n"
        "trap 'late=yes; scancel --quiet --signal=TERM \"$SLURM_JOB_ID\"' USR1\n"
        "trap : TERM  # comes with a preemption to all processes; they save\n"
        'echo "job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)), on $SLURM_JOB_NODELIST: dltrain $*"\n'
        "on=()\n"
        "train() {\n"
        f"    srun --label --kill-on-bad-exit=0{cores} {start} &\n"
        "    step=$!\n"
        '    while wait "$step"; code=$?; kill -0 "$step" 2> /dev/null; do :; done\n'
        "}\n"
        'train "$@"\n'
        f"{_go_on(nodes, tasks, options['restarts']) if nodes else ''}"
        f'[ -n "${{late:-}}" ] && [ "$code" = {Terminated.code} ] && scontrol requeue "$SLURM_JOB_ID"\n'
        'exit "$code"\n'
    )


def _go_on(nodes: Sequence[int], tasks: int, restarts: int) -> str:
    """Return the lines that start a run again, on the nodes that are up, after it has lost a process."""
    return (
        "\n# runtime.elastic=true: after a loss the run goes on from its last checkpoint, on nodes that are up.\n"
        f"for restart in $(seq {restarts}); do\n"
        f'    case "$code" in {WorkerError.code} | {KILLED}) ;; *) break ;; esac\n'
        '    down=$(sinfo --noheader --Node --nodes="$SLURM_JOB_NODELIST" --states=down,fail --format=%N)\n'
        '    up=($(scontrol show hostnames "$SLURM_JOB_NODELIST" | grep -vxF "${down:--}"))\n'
        "    nodes=0\n"
        f"    for wanted in {' '.join(map(str, nodes))}; do\n"
        '        if [ "$wanted" -le "${#up[@]}" ]; then nodes=$wanted; break; fi\n'
        "    done\n"
        '    if [ "$nodes" = 0 ]; then  # too few of the job\'s nodes are up: wait for others\n'
        '        scontrol requeue "$SLURM_JOB_ID"\n'
        "        break\n"
        "    fi\n"
        '    names=$(IFS=,; echo "${up[*]:0:nodes}")\n'
        f'    on=(--nodes="$nodes" --ntasks=$((nodes * {tasks})) --nodelist="$names")\n'
        '    echo "a process was lost (exit code $code); start $((restart + 1)), on $names"\n'
        '    train "$@"\n'
        "done\n"
    )


def _slurm_time(seconds: int) -> str:
    """Write a time as SLURM reads it: hours:minutes:seconds."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def follow(job: str, console: Path) -> int:
    """Show what a job prints and what becomes of it until it ends; return its exit code."""
    said, read = "", 0
    while True:
        state, code, words = _state(job)
        read = _show_new(console, read)
        if words != said:
            print(f"job {job}: {words}", flush=True)
            said = words
        if state in ENDED:
            _show_new(console, read)
            return code
        time.sleep(LOOK)


def _state(job: str) -> tuple[str, int, str]:
    """Return the state of a job, its exit code, and both in words."""
    try:
        found = dict(re.findall(r"(\w+)=(\S*)", _ask("scontrol", "show", "job", "--oneliner", job)))
    except ConfigError as error:
        raise WorkerError(f"job {job}: SLURM does not answer any more: {error}") from error
    state = found.get("JobState", "UNKNOWN")
    returned, _, signal = found.get("ExitCode", "0:0").partition(":")
    code = int(returned) or (128 + int(signal) if signal not in ("", "0") else 0)
    if state != "COMPLETED":
        code = code or 1
    reason = found.get("Reason", "None")
    words = state.lower() + (f" ({reason})" if reason not in ("None", "") else "")
    return state, code, words + (f", exit code {code}" if state in ENDED else "")


def _show_new(console: Path, read: int) -> int:
    """Print the complete lines that the file has after `read` bytes, and return where they end."""
    if not console.is_file():
        return read
    with console.open("rb") as file:
        file.seek(read)
        lines, _, _ = file.read().rpartition(b"\n")
    if not lines:
        return read
    print(lines.decode(errors="replace"), flush=True)
    return read + len(lines) + 1


def _ask(*words: str) -> str:
    """Run a command of SLURM and return what it prints, or raise ConfigError with its message."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise ConfigError(f"{words[0]}: {said[-1].removeprefix(f'{words[0]}: ')}")
    return done.stdout
