"""1, 2 and 4 processes train on the same examples in the same order."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dltrain.devices.hosts import free_port
from tests.helpers import order_worker

EXAMPLES, BATCH, STEPS = 150, 16, 20
WORDS = (
    *("data=arrays", "data.path=ids.npz", "data.task=classification", "data.scale=none", "model=linear"),
    *(f"batch_size={BATCH}", f"steps={STEPS}", "runtime.cache=false", "quiet=true"),
)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    ids = np.arange(EXAMPLES)
    np.savez(tmp_path / "ids.npz", inputs=ids[:, None].astype(np.float32), targets=ids % 3)
    return tmp_path


def trained(count: int, here: Path, flags: str) -> dict[str, list[list[int]]]:
    """Train in `count` processes; return the ids of each step's batch in its order, -1 for padding, by feed."""
    folder, port, started = here / str(count), free_port(), []
    folder.mkdir()
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PJRT_NPROC": "1", "XLA_FLAGS": flags}
    try:
        for index in range(count):
            place = {"coordinator": f"127.0.0.1:{port}", "count": count, "index": index, "local": True}
            command = [sys.executable, order_worker.__file__, json.dumps(place), str(folder), *WORDS]
            with (folder / f"{index}.txt").open("wb") as out:
                started.append(subprocess.Popen(command, cwd=here, env=environment, stdout=out, stderr=out))
        codes = [one.wait(200) for one in started]
        assert codes == [0] * count, (folder / "0.txt").read_text()
    finally:
        for one in started:
            one.kill()
            one.wait()
    return {feed: whole_batches(folder, feed, count) for feed in order_worker.FEEDS}


def whole_batches(folder: Path, feed: str, count: int) -> list[list[int]]:
    """Join the parts of each batch that the devices of all processes held."""
    batches = np.full((STEPS, BATCH), -2)
    for index in range(count):
        for line in (folder / f"{feed}-{index}.jsonl").read_text().splitlines():
            step, first, ids = json.loads(line)
            assert len(ids) == BATCH // count
            here = batches[step - 1, first : first + len(ids)]
            assert (here == -2).all(), "two processes hold the same rows of a batch"
            here[:] = ids
    assert (batches != -2).all()
    return batches.tolist()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_two_and_four_processes_see_the_same_examples_in_the_same_order(here: Path, quick_flags: str) -> None:
    alone = trained(1, here, quick_flags)
    assert alone["streamed"] == alone["resident"]
    epoch = [example for batch in alone["resident"][:7] for example in batch if example >= 0]
    assert len({*epoch}) == len(epoch) == 108  # of the training set, each once; the last batch is padded
    assert alone["resident"][7:14] != alone["resident"][:7]
    assert trained(2, here, quick_flags) == alone
    assert trained(4, here, quick_flags) == alone
