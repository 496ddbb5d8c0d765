"""Training steps per second of the four networks, for every installed program; compares their first losses."""

from collections.abc import Callable, Iterator
from typing import Any

import jax

from benchmarks import jax_peers, keras_peer, torch_peers
from benchmarks.measure import Peer, Setup, Skip, Table, alternate, ratios
from benchmarks.nets import Net, batch_size, chosen, make_program

PEERS: dict[str, Callable[[Net, Any, int], Peer]] = {
    "dltrain": lambda net, program, batch: jax_peers.dltrain_peer(program),
    "bare": lambda net, program, batch: jax_peers.bare(program),
    "eager": torch_peers.eager,
    "compiled": torch_peers.compiled,
    "keras": keras_peer.make,
    "nnx": jax_peers.stock,
}
AGREE = 1e-4  # relative difference of the first loss that rounding explains
AGREE_TF32 = 1e-3  # the same on a GPU, whose products round their factors to 10 bits


def run(table: Table, setup: Setup) -> None:
    """Measure each network: all its programs in turn."""
    for net in chosen(setup):
        program = make_program(net, setup, "steps=1000000")
        _compare(table, net, program)
        found = alternate(list(_peers(net, program, table, setup)), setup)
        for name, values in found.items():
            table.add("steps", net.title, name, "steps/s", values)
        for name, values in found.items():
            if name != "dltrain":
                table.add("ratio", net.title, f"dltrain / {name}", "x", ratios(found["dltrain"], values))


def _peers(net: Net, program: Any, table: Table, setup: Setup) -> Iterator[Peer]:
    for name, make in PEERS.items():
        if name != "dltrain" and not setup.wants(name, PEERS):
            continue
        try:
            if setup.tiny and name == "compiled" and name not in setup.only:
                raise Skip("takes half a minute to compile; ask for it by --only compiled")
            yield make(net, program, batch_size(setup))
        except Skip as reason:
            table.skip(f"steps of {net.title}, {name}", reason)


def _compare(table: Table, net: Net, program: Any) -> None:
    """Check that the PyTorch program does the same work: its first losses must equal those of dltrain."""
    try:
        theirs = torch_peers.first_losses(net, program, 2)
    except Skip as reason:
        table.skip(f"first losses of {net.title} compared with PyTorch", reason)
        return
    mine = jax_peers.first_losses(program, 2)
    apart = abs(mine - theirs) / abs(theirs)
    if not apart[0] < (AGREE_TF32 if jax.default_backend() == "gpu" else AGREE):
        raise AssertionError(f"{net.title}: the first loss is {mine[0]} here and {theirs[0]} in PyTorch")
    table.add("same", net.title, "first loss, off PyTorch's", "relative", [apart[0]])
    table.add("same", net.title, "second loss, off PyTorch's", "relative", [apart[1]])
