"""Bytes moved and operations computed per step, for each axis of a mesh: when does it pay to divide a network?

All numbers are float32 and per device; times are bounds without overlap of computing and sending. Formulas of the
collectives are those of rings (Patarasuk & Yuan 2009): an all-reduce of b bytes sends 2 (n - 1) / n · b from each
device, an all-gather or a reduce-scatter (n - 1) / n · b.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

FLOAT = 4  # bytes
ADAM = 4  # arrays of the size of the parameters: those, their gradients and two moments


@dataclass(frozen=True)
class Network:
    """What a network costs per example: forward and backward."""

    name: str
    parameters: int
    flops: float  # of a training step, per example: three times the forward pass
    summed: int  # values per example that `model` sums over its devices in a step
    gathered: int = 0  # values per example that `model` gathers
    exchanged: int = 0  # parameters that `model` sends around (those of queries, keys and values)


@dataclass(frozen=True)
class Rates:
    """What a device computes, and sends in one direction."""

    name: str
    flops: float  # per second
    bandwidth: float  # bytes per second
    latency: float  # seconds of a collective among two devices


@dataclass(frozen=True)
class Cost:
    """A step on one device."""

    sent: float  # bytes
    compute: float  # seconds
    communicate: float  # seconds
    state: float  # bytes of parameters, gradients and the moments of Adam

    @property
    def efficiency(self) -> float:
        """Share of the step in which the device computes."""
        return self.compute / (self.compute + self.communicate)


def dense_stack(name: str, sizes: Sequence[int]) -> Network:
    """Dense layers; every second output is summed forward, and every second input backward."""
    pairs = list(itertools.pairwise(sizes))
    weights = sum(a * b for a, b in pairs)
    summed = sum(b for _, b in pairs[1::2]) + sum(a for a, _ in pairs[2::2])
    return Network(name, weights + sum(sizes[1:]), 6.0 * weights, summed)


def convolutions(name: str, layers: Sequence[tuple[int, int, int, int]], head: tuple[int, int]) -> Network:
    """Convolutions of (kernel, in, out, side of the result); `model` gathers each input, and sums its gradient."""
    weights = sum(k * k * a * b for k, a, b, _ in layers)
    products = sum(k * k * a * b * side**2 for k, a, b, side in layers)
    inputs = [a * side**2 for _, a, _, side in layers[1:]]
    values = weights + sum(b for _, _, b, _ in layers) + head[0] * head[1] + head[1]
    return Network(name, values, 6.0 * (products + head[0] * head[1]), summed=sum(inputs), gathered=sum(inputs))


def recurrent(name: str, features: int, hidden: int, length: int, outputs: int) -> Network:
    """An LSTM; `model` does not divide it."""
    weights = 4 * hidden * (features + hidden)
    flops = 6.0 * (length * weights + hidden * outputs)
    return Network(name, weights + 4 * hidden + hidden * outputs + outputs, flops, summed=0)


def transformer(name: str, *, layers: int, width: int, feedforward: int, length: int, vocabulary: int) -> Network:
    """Blocks with attention over `length` steps; `model` sums the states of a block four times."""
    block = 4 * width**2 + 2 * width * feedforward
    others = layers * (9 * width + feedforward) + (2 * vocabulary + length) * width
    products = layers * (length * block + 2 * length**2 * width) + length * vocabulary * width
    states, qkv = 4 * layers * length * width, 3 * layers * width**2
    return Network(name, layers * block + others, 6.0 * products, summed=states, exchanged=qkv)


def all_reduce(values: float, devices: int) -> float:
    """Bytes that each device sends."""
    return 2 * (devices - 1) / devices * FLOAT * values


def all_gather(values: float, devices: int) -> float:
    """Bytes that each device sends; a reduce-scatter sends as many."""
    return (devices - 1) / devices * FLOAT * values


def data_axis(net: Network, rates: Rates, *, devices: int, batch: int) -> Cost:
    """Each device has `batch` examples; gradients are summed once."""
    sent = all_reduce(net.parameters, devices)
    compute, state = batch * net.flops / rates.flops, ADAM * FLOAT * net.parameters
    return Cost(sent, compute, _seconds(sent, rates, 1, devices), state)


def fsdp_axis(net: Network, rates: Rates, *, devices: int, batch: int) -> Cost:
    """Parameters are gathered for both passes, and gradients are reduced to their parts."""
    sent = 3 * all_gather(net.parameters, devices)
    compute, state = batch * net.flops / rates.flops, ADAM * FLOAT * net.parameters / devices
    return Cost(sent, compute, _seconds(sent, rates, 3, devices), state)


def model_axis(net: Network, rates: Rates, *, devices: int, batch: int) -> Cost:
    """All devices have the same `batch` examples, and a part of the layers."""
    sent = all_reduce(batch * net.summed, devices) + all_gather(batch * net.gathered, devices)
    sent += 2 * all_gather(net.exchanged, devices) / devices
    count = 4 if net.summed else 0
    compute, state = batch * net.flops / devices / rates.flops, ADAM * FLOAT * net.parameters / devices
    return Cost(sent, compute, _seconds(sent, rates, count, devices), state)


def break_even(net: Network, rates: Rates, devices: int) -> float:
    """Return the examples per device from which `data` computes longer than it sends: an efficiency of one half."""
    sending = data_axis(net, rates, devices=devices, batch=1).communicate
    return sending * rates.flops / net.flops


def gain_of_model(net: Network, rates: Rates, *, devices: int, batch: int) -> float:
    """Return how many times as fast a step of the same examples is, divided over `model`, as on one device."""
    alone = batch * net.flops / rates.flops
    cost = model_axis(net, rates, devices=devices, batch=batch)
    return alone / (cost.compute + cost.communicate)


def _seconds(sent: float, rates: Rates, count: int, devices: int) -> float:
    return sent / rates.bandwidth + count * 2 * (devices - 1) * rates.latency


RESNET20 = (
    [(3, 3, 16, 32)]
    + [(3, 16, 16, 32)] * 6
    + [(3, 16, 32, 16)]
    + [(3, 32, 32, 16)] * 5
    + [(3, 32, 64, 8)]
    + [(3, 64, 64, 8)] * 5
)

NETWORKS = (
    dense_stack("mlp 784-128-128-10", (784, 128, 128, 10)),
    dense_stack("realmlp, 54 columns", (216, 256, 256, 256, 7)),
    convolutions("resnet20, 32 x 32", RESNET20, (64, 10)),
    recurrent("lstm 128, 28 steps", 28, 128, 28, 10),
    transformer("transformer 4 x 128, 256 steps", layers=4, width=128, feedforward=512, length=256, vocabulary=65),
    transformer("12 x 768, 1024 steps", layers=12, width=768, feedforward=3072, length=1024, vocabulary=50257),
)
"""Networks of the catalogue; the last is of the size of GPT-2."""

LINKS = (
    Rates("CPU cores, loopback", 2.3e10, 0.9e9, 50e-6),
    Rates("GPU, 100 Gbit/s Ethernet", 4.95e14, 12.5e9, 20e-6),
    Rates("GPU, PCIe 5.0 x16", 4.95e14, 64e9, 5e-6),
    Rates("GPU, NVLink 4", 4.95e14, 450e9, 3e-6),
    Rates("TPU v5p, ICI", 4.59e14, 600e9, 1e-6),
)
"""Peak rates, see docs/scaling.md for their sources: what is reached is less, of both."""
