"""The same networks in PyTorch, eager and compiled, with the initial weights of dltrain."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.measure import Peer, Skip, cores, require
from benchmarks.nets import RATE, Net, arrays


def eager(net: Net, program: Any, batch: int) -> Peer:
    """Train in PyTorch as in its tutorials, with the whole data set in memory."""
    return _peer("PyTorch eager", _built(net, program), program, batch)


def compiled(net: Net, program: Any, batch: int) -> Peer:
    """Train with `torch.compile`."""
    require("torch")
    import torch

    module = _built(net, program)
    peer = _peer("PyTorch compiled", torch.compile(module), program, batch)
    try:
        peer.run(1)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise Skip(f"torch.compile: {type(error).__name__}: {reason[0] if reason else ''}") from error
    return peer


def first_losses(net: Net, program: Any, steps: int) -> np.ndarray:
    """Return the losses of the first steps with the weights and batches of dltrain."""
    require("torch")
    import torch

    module = _built(net, program)
    optimizer, found = torch.optim.Adam(module.parameters(), RATE), []
    scaling, data = program.parts.preprocess.scaling, program.parts.arrays
    for rows in program.parts.pipeline.indices(0, steps):
        inputs = (data["inputs"][rows].astype(np.float32) - scaling.shift) / scaling.scale
        x, y = _tensors(inputs.astype(np.float32), data["targets"][rows])
        found.append(_step(module, optimizer, x, y).item())
    return np.array(found)


def _peer(name: str, module: Any, program: Any, batch: int) -> Peer:
    import torch

    x, y = _tensors(*arrays(program))
    optimizer = torch.optim.Adam(module.parameters(), RATE)

    def run(n: int) -> int:
        for _ in range(n):
            rows = torch.randint(0, len(x), (batch,), device=x.device)
            loss = _step(module, optimizer, x[rows], y[rows])
        loss.item()
        return n

    return Peer(f"{name}{'' if x.device.type == 'cpu' else ' on the GPU'}", run)


def _step(module: Any, optimizer: Any, x: Any, y: Any) -> Any:
    import torch

    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(module(x), y)
    loss.backward()
    optimizer.step()
    return loss


def _device() -> str:
    import jax
    import torch

    return "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"


def _tensors(inputs: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
    """Move the channel axis first, as in PyTorch; with one channel the memory layout does not change."""
    import torch

    x = torch.from_numpy(np.ascontiguousarray(inputs.reshape(len(inputs), 1, 28, 28)))
    return x.to(_device()), torch.from_numpy(labels.astype(np.int64)).to(_device())


def _built(net: Net, program: Any) -> Any:
    require("torch")
    import torch

    from dltrain.engine.state import named_leaves

    torch.set_num_threads(cores())
    leaves = {name: np.array(leaf) for name, leaf in named_leaves(program.start().params).items()}
    return (_recurrent(net, leaves) if net.hidden else _sequential(net, leaves)).to(_device())


def _sequential(net: Net, leaves: Mapping[str, np.ndarray]) -> Any:
    from torch import nn

    layers: list[Any] = []
    for i in range(len(net.channels)):
        kernel, bias = leaves[f"convolutions.{i}.kernel"], leaves[f"convolutions.{i}.bias"]
        padding = "same" if net.same else "valid"
        layer = nn.Conv2d(*kernel.shape[2:], kernel_size=net.kernel, padding=padding)
        layers += [_filled(layer, kernel.transpose(3, 2, 0, 1), bias), nn.ReLU(), nn.MaxPool2d(2)]
    layers.append(nn.Flatten())
    group = "dense" if net.channels else "hidden"
    names = [*(f"{group}.{i}" for i in range(len(net.dense))), "head"]
    for i, name in enumerate(names):
        kernel = leaves[f"{name}.kernel"]
        if i == 0 and net.channels:  # flattened maps: height, width, channel here; channel first there
            depth = net.channels[-1]
            side = round((len(kernel) // depth) ** 0.5)
            kernel = kernel.reshape(side, side, depth, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
        layers += [_filled(nn.Linear(*kernel.shape), kernel.T, leaves[f"{name}.bias"]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _recurrent(net: Net, leaves: Mapping[str, np.ndarray]) -> Any:
    import torch
    from torch import nn

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(28, net.hidden, batch_first=True)
            self.head = _filled(nn.Linear(net.hidden, 10), leaves["head.kernel"].T, leaves["head.bias"])
            with torch.no_grad():
                self.lstm.weight_ih_l0.copy_(torch.from_numpy(leaves["forward.0.kernel"].T.copy()))
                self.lstm.weight_hh_l0.copy_(torch.from_numpy(leaves["forward.0.recurrent"].T.copy()))
                self.lstm.bias_ih_l0.copy_(torch.from_numpy(leaves["forward.0.bias"]))
                self.lstm.bias_hh_l0.zero_()  # PyTorch has a second bias, which does nothing that the first cannot

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x[:, 0])[0][:, -1])

    return Recurrent()


def _filled(layer: Any, kernel: np.ndarray, bias: np.ndarray) -> Any:
    import torch

    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
