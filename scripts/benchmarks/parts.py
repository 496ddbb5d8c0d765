"""The time of each part of a step: the bare loop ending after each part, and the chunk of dltrain as the last."""

import statistics

from benchmarks import jax_peers
from benchmarks.measure import Peer, Setup, Table, alternate
from benchmarks.nets import chosen, make_program

LOGGING = "logging and checks"


def run(table: Table, setup: Setup) -> None:
    """Subtract neighbours round by round; the median of a part may be below 0 due to noise."""
    for net in chosen(setup):
        program = make_program(net, setup, "steps=1000000")
        peers = [jax_peers.bare(program, stage) for stage in jax_peers.STAGES[:-1]]
        peers.append(Peer("update", jax_peers.bare(program).run))
        peers.append(Peer(LOGGING, jax_peers.dltrain_peer(program).run))
        rates = alternate(peers, setup)
        before = [0.0] * setup.rounds
        for name, values in rates.items():
            until = [1e3 / value for value in values]
            table.add("parts", net.title, name, "ms a step", [b - a for a, b in zip(before, until, strict=True)])
            before = until
        table.add("parts", net.title, "whole step", "ms a step", before)
        last = 1e3 / statistics.median(rates["update"])
        table.add("parts", net.title, "the last, of bare", "x", [value / last - 1 for value in before])
