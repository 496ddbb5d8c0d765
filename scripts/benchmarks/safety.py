"""The cost of safety: checking every step for NaN and infinity, and writing checkpoints."""

import contextlib
from collections.abc import Callable, Generator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import jax_peers
from benchmarks.measure import Peer, Setup, Table, alternate, ratios
from benchmarks.nets import chosen, make_program
from benchmarks.share import train_once, warm

SAVES = 20  # checkpoints of one run


def run(table: Table, setup: Setup) -> None:
    """Compare the chunk with one without checks, then train with many checkpoints."""
    for net in chosen(setup):
        guarded = make_program(net, setup, "steps=1000000")
        bare = make_program(net, setup, "steps=1000000")
        peers = [jax_peers.dltrain_peer(guarded), Peer("unchecked", jax_peers.dltrain_peer(bare).run)]
        peers[0].run(1)
        with _unchecked():
            peers[1].run(1)
        rates = alternate(peers, setup)
        for name, values in rates.items():
            table.add("safety", net.title, name, "steps/s", values)
        table.add("safety", net.title, "dltrain / unchecked", "x", ratios(*rates.values()))
        interval = 2 if setup.tiny else 20
        words = (f"steps={SAVES * interval}", f"checkpoint_every={interval}", "monitor=null", "eval_every=100ep")
        program = make_program(net, setup, *words)
        warm(program)
        stalls = []
        for _ in range(1 if setup.tiny else 3):
            trained, _, _ = train_once(program)
            stalls.append(1e3 * trained.saver.clock.stalled / trained.saver.clock.saves)
        table.add("safety", net.title, "training delayed by a save", "ms", stalls)
        size = sum(np.prod(s.shape) * s.dtype.itemsize for s in jax.tree.leaves(program.shapes.params))
        table.add("safety", net.title, "parameters, with two moments", "MiB", [3 * float(size) / 2**20])


@contextlib.contextmanager
def _unchecked() -> Generator[None]:
    """Trace a step without the gradient norm and without the decision whether to update."""
    cond = jax.lax.cond

    def always(test: Any, yes: Callable[..., Any], no: Callable[..., Any], *operands: Any) -> Any:
        return yes(*operands) if getattr(yes, "__name__", "") == "update" else cond(test, yes, no, *operands)

    with (
        mock.patch("dltrain.engine.step.norm", lambda tree: jnp.float32(0)),
        mock.patch.object(jax.lax, "cond", always),
    ):
        yield
