"""Train on a Ray cluster: plain actors, each with one process of `dltrain`, which find one another through jax.

Ray only places the processes; it sees no data and no gradients. A run that lost a process, or whose processes were
told to end, is continued with `dltrain resume` by new actors.
"""

import contextlib
import importlib
import importlib.util
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dltrain.errors import ConfigError, Terminated, WorkerError
from dltrain.launchers._plan import Plan, check_counts, check_devices, cpu_devices, exports, fitting, make_plan
from dltrain.launchers._process import Process, versions
from dltrain.runs.files import Files
from dltrain.startup import handling

AGAIN = (Terminated.code, WorkerError.code, 137)  # told to end, another one lost, killed
LOOK, ANSWER, GRACE = 1.0, 60.0, 60  # seconds: for a line, for an actor, and looks after the first has ended


def launch(words: Sequence[str], options: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """Train `dltrain WORDS` in actors, show what they print, and continue after a loss; return the exit code.

    Args:
        words: the command line.
        options: those of configs/launch/ray.yaml.
        config: what the words compose to.

    Raises:
        ConfigError: Ray is missing, the cluster is too small, or versions differ between its machines.
    """
    check_counts(options, "hosts", "cpus")
    check_counts(options, "gpus", "restarts", low=0)
    devices, elastic = options["gpus"] or cpu_devices(), config["runtime"]["elastic"]
    check_devices(config, processes=options["hosts"], devices=devices)
    counts = fitting(config, options["hosts"], devices=devices) if elastic else [options["hosts"]]
    if options["dry_run"]:
        _describe(make_plan(words, "ray", elastic=elastic), options)
        return 0
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "launch ray: Ray is not installed: pip install ray; dry_run=true only writes what it does"
        )
    ray = importlib.import_module("ray")
    plan = make_plan(words, "ray", elastic=elastic)
    try:
        ray.init(
            address=options["address"],
            log_to_driver=False,
            runtime_env={"env_vars": exports()},
            **({"num_cpus": options["hosts"] * options["cpus"]} if options["address"] == "local" else {}),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"address={options['address']}: {str(error).splitlines()[0]}; start a cluster with ray start --head, "
            "or train on this machine: address=local"
        ) from error
    try:
        check_resources(ray.cluster_resources(), options)
        _describe(plan, options)
        return _train(ray, plan, options, counts)
    finally:
        ray.shutdown()


def _describe(plan: Plan, options: Mapping[str, Any]) -> None:
    """Write and show what is started."""
    lines = [f"address={options['address']}", f"actors: {options['hosts']}, each with {_each(options)}"]
    lines += [f"{name}={value}" for name, value in exports().items()]
    lines += [f"dltrain {' '.join(plan.words())} runtime.hosts={place('HOST:PORT', options['hosts'], 0)}"]
    plan.write("launch.txt", "\n".join(lines) + "\n")


def _each(options: Mapping[str, Any]) -> str:
    return f"{options['cpus']} CPUs" + (f", {options['gpus']} GPUs" if options["gpus"] else "")


def check_resources(found: Mapping[str, float], options: Mapping[str, Any]) -> None:
    """Raise ConfigError if the cluster has fewer cores or GPUs than the actors need."""
    for name, key in (("GPU", "gpus"), ("CPU", "cpus")):
        needed, there = options["hosts"] * options[key], found.get(name, 0)
        if needed > there:
            raise ConfigError(
                f"hosts={options['hosts']} {key}={options[key]}: needs {needed} {name}s, and the cluster has "
                f"{there:g}"
            )


def place(address: str, count: int, index: int, *, local: bool = False) -> str:
    """Return `runtime.hosts` of a process."""
    return f"{{coordinator: '{address}', count: {count}, index: {index}{', local: true' if local else ''}}}"


def _train(ray: Any, plan: Plan, options: Mapping[str, Any], counts: Sequence[int]) -> int:
    """Train until the run ends, at most `restarts` times more.

    `counts` are the numbers of actors to train with, largest first; only an elastic run has more than one.
    """
    told, count = _Told(), counts[0]
    with handling(told.note, signal.SIGINT, signal.SIGTERM):
        for attempt in range(options["restarts"] + 1):
            try:
                code = _attempt(ray, plan, options, told, count=count)
            except WorkerError as error:  # a machine that was lost in this moment
                if len(counts) == 1:
                    raise
                print(f"dltrain: {error}", flush=True)
                code = error.code
            if code not in AGAIN or told.number or attempt == options["restarts"]:
                break
            if len(counts) > 1:
                count = _remaining(ray, options, counts)
            if attempt == 0 and not plan.repeats:  # a start without a checkpoint replaces what the first one began
                plan = replace(plan, first=(*plan.first, "overwrite=true"))
            fewer = f", with {count} of {counts[0]} actors" if count < counts[0] else ""
            print(f"start {attempt + 2}: dltrain {' '.join(plan.words())}{fewer}", flush=True)
    return code


def room(nodes: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> int:
    """Return how many actors the nodes of a cluster that are alive can hold."""
    each = {"CPU": options["cpus"], **({"GPU": options["gpus"]} if options["gpus"] else {})}
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(min(int(node.get(name, 0) // needed) for name, needed in each.items()) for node in alive)


def _remaining(ray: Any, options: Mapping[str, Any], counts: Sequence[int]) -> int:
    """Return the largest of `counts` that the cluster can hold now, after the loss of a machine."""
    there = room(ray.nodes(), options)
    fits = [count for count in counts if count <= there]
    if not fits:
        raise WorkerError(f"the cluster has room for {there} actors, and the batch divides by {counts}")
    return fits[0]


def _attempt(ray: Any, plan: Plan, options: Mapping[str, Any], told: "_Told", *, count: int) -> int:
    """Start the actors and their processes, and wait for their end."""
    actor = ray.remote(num_cpus=options["cpus"], num_gpus=options["gpus"], scheduling_strategy="SPREAD")(Process)
    actors = [actor.options(max_concurrency=2).remote() for _ in range(count)]
    try:
        here = str(plan.folder.parents[2])
        found = _answers(ray, [one.describe.remote(here) for one in actors])
        check_hosts(found, here)
        address, local = _address(found)
        for index, one in enumerate(actors):
            words = [*plan.words(), f"runtime.hosts={place(address, len(actors), index, local=local)}"]
            _answers(ray, [one.start.remote(words, environment=exports(), folder=here)])
        print(f"coordinator {address}; hosts {', '.join(str(one['host']) for one in found)}", flush=True)
        return _follow(ray, plan, actors, told)
    finally:
        with contextlib.suppress(ray.exceptions.RayError):  # an actor that was lost cannot answer
            ray.get([one.kill.remote() for one in actors], timeout=ANSWER)
        for one in actors:
            ray.kill(one)


def _answers(ray: Any, asked: list[Any]) -> list[Any]:
    try:
        return ray.get(asked, timeout=ANSWER)
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines()[-1]
        raise WorkerError(
            f"an actor does not answer: {said}; dltrain and the same Python have to be installed on all machines"
        ) from error


def check_hosts(found: Sequence[Mapping[str, Any]], folder: str) -> None:
    """Raise ConfigError for hosts with other versions than here, or without the folder of the launch."""
    own = versions()
    for one in found:
        there = one["versions"]
        if different := [f"{name} {there[name]} (here {own[name]})" for name in own if there[name] != own[name]]:
            raise ConfigError(
                f"host {one['host']} has {', '.join(different)}; install the same versions everywhere"
            )
        if not one["folder"]:
            raise ConfigError(
                f"host {one['host']} has no folder {folder}; start in a folder that all machines share"
            )


def _address(found: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """Return the address of process 0, and whether all are on its machine."""
    if len({one["host"] for one in found}) == 1:
        return f"127.0.0.1:{found[0]['port']}", True
    return f"{found[0]['host']}:{found[0]['port']}", False


def _follow(ray: Any, plan: Plan, actors: Sequence[Any], told: "_Told") -> int:
    """Show the lines of all processes, also in console.log, until all have ended; return the first failure."""
    running, code, left = dict(enumerate(actors)), 0, GRACE
    with Files(plan.folder).append("console.log") as console:
        while running and left:
            asked = {index: one.look.remote(LOOK) for index, one in running.items()}
            if number := told.take():
                for one in running.values():
                    one.signal.remote(number)
            for index, answer in asked.items():
                try:
                    lines, ended = ray.get(answer, timeout=ANSWER)
                except ray.exceptions.RayError:
                    lines, ended = ["the actor was lost"], WorkerError.code
                for line in lines:
                    print(f"{index} | {line}", flush=True)
                    console.write(f"{index} | {line}\n")
                if ended is not None:
                    del running[index]
                    code = code or ended
            left -= bool(code)
    return code


class _Told:
    """Notes SIGINT and SIGTERM, which go to the processes; after one, a run is not continued."""

    def __init__(self) -> None:
        self.number = 0
        self._new = 0

    def note(self, number: int, frame: Any) -> None:
        """Handle a signal."""
        del frame
        self.number = self._new = number

    def take(self) -> int:
        """Return a signal that came since the last call, or 0."""
        number, self._new = self._new, 0
        return number
