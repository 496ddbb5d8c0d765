"""Training in 1 and in 4 processes, relative to a bare `jax.jit` step over the same mesh in the same processes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from benchmarks import jax_peers
from benchmarks.measure import Peer, Setup, Table, cores, per_step, ratios
from benchmarks.nets import NAMES, RATE, Net, chosen, make_program
from benchmarks.share import train_once, warm

PROCESSES = (1, 4)
LONGER = 4  # times --seconds, for a round of training
HEARTBEAT = 60  # seconds; on a busy machine a process may be late
LIMIT = 1800  # seconds for all rounds of a network


def run(table: Table, setup: Setup) -> None:
    """Measure the MLP, or the networks that were chosen, in each number of processes."""
    for net in chosen(setup) if set(setup.only) & set(NAMES) else chosen(setup)[:1]:
        for count in PROCESSES:
            ours, theirs = _in_processes(count, net, setup)
            case, noun = f"{net.title} x{count}", "process" if count == 1 else "processes"
            table.add("hosts", case, f"dltrain, {count} {noun}", "steps/s", ours)
            table.add("hosts", case, "bare jax.jit", "steps/s", theirs)
            table.add("ratio", case, "dltrain / bare jax.jit", "x", ratios(ours, theirs))


def _in_processes(count: int, net: Net, setup: Setup) -> tuple[list[float], list[float]]:
    """Return the steps per second of dltrain and of the bare step, of each round."""
    from dltrain.devices.hosts import free_port

    scripts = Path(__file__).parent.parent
    path = [str(scripts), str(scripts.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "JAX_PLATFORMS": "cpu"}
    environment["PJRT_NPROC"] = str(max(1, cores() // count))
    started, port = [], free_port()
    with tempfile.TemporaryDirectory(prefix="dltrain-bench-") as scratch:
        found = Path(scratch, "found.json")
        asked = {"net": net.name, "rounds": setup.rounds, "seconds": setup.seconds, "tiny": setup.tiny}
        try:
            for index in range(count):
                place = {"coordinator": f"127.0.0.1:{port}", "count": count, "index": index, "local": True}
                words = [json.dumps(place), json.dumps(asked), str(found)]
                command = [sys.executable, "-m", "benchmarks.hosts", *words]
                with Path(scratch, f"{index}.txt").open("wb") as out:
                    started.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
            codes = [one.wait(LIMIT) for one in started]
        finally:
            for one in started:
                one.kill()
                one.wait()
        if any(codes):
            said = Path(scratch, "0.txt").read_text(errors="replace")
            raise RuntimeError(f"{net.title} in {count} processes: exit codes {codes}:\n{said}")
        values = json.loads(found.read_text())
    return values["ours"], values["theirs"]


def work(place: str, asked: str, found: str) -> None:
    """Measure in one of the processes; process 0 writes what it found. All of them do the same number of steps."""
    from dltrain.devices import hosts

    wanted = json.loads(asked)
    setup = Setup(wanted["rounds"], wanted["seconds"], wanted["tiny"], only=(wanted["net"],))
    net = chosen(setup)[0]
    with hosts.joined(json.loads(place), heartbeat=HEARTBEAT):
        peer = bare_step(make_program(net, setup, "steps=1000000"))
        peer.run(2)  # compiles
        fit = 8 if setup.tiny else LONGER * setup.seconds / per_step(lambda n: peer.run(hosts.agree(n, "steps")))
        steps = hosts.agree(max(2, round(fit)), "steps of a round")
        program = make_program(net, setup, f"steps={steps}")
        warm(program)
        ours, theirs = [], []
        for _ in range(setup.rounds):
            trained, _, looking = train_once(program)
            ours.append(steps / (trained.outcome.seconds - looking))
            hosts.wait("bare step")
            began = time.perf_counter()
            theirs.append(peer.run(steps) / (time.perf_counter() - began))
            hosts.wait("training")
        if hosts.leads():
            Path(found).write_text(json.dumps({"ours": ours, "theirs": theirs}))


def bare_step(program: Any) -> Peer:
    """Train the same network with one `jax.jit` call for each step, without logs and checks, over the same mesh."""
    layout = program.layout
    body, optimizer = jax_peers.step_body(program), optax.adam(RATE)
    everywhere = layout.replicated if layout else None

    def step(params: Any, model_state: Any, opt_state: Any, data: Any, rows: Any) -> Any:
        if layout:
            rows = jax.lax.with_sharding_constraint(rows, layout.over_devices())
        return body((params, model_state, opt_state, None), data, rows)

    compiled = jax.jit(step, donate_argnums=(0, 1, 2), out_shardings=everywhere)
    state, data, pipeline = program.start(), program.data, program.parts.pipeline
    carry = (state.params, state.model_state, jax.jit(optimizer.init, out_shardings=everywhere)(state.params))
    position = 0

    def run(n: int) -> int:
        nonlocal carry, position
        value = None
        for rows in pipeline.indices(position, n):
            *carry, value = compiled(*carry, data, np.asarray(rows))
        position += n
        jax.block_until_ready((carry, value))
        return n

    return Peer("bare jax.jit", run)


if __name__ == "__main__":
    work(*sys.argv[1:])
