"""Train in one of several processes, and write which examples reach its devices.

`order_worker.py PLACE FOLDER WORDS`: PLACE is `runtime.hosts` as JSON. For each feed, FOLDER/FEED-INDEX.jsonl gets
lines of the step, the first row of the batch that a device of this process holds, and the ids of its examples, -1
for padding; an example's only input is its id. The program's own function picks the batches from what a chunk gets.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dltrain import trainer
from dltrain.composition.compose import compose_words
from dltrain.devices import hosts
from dltrain.engine.loop import Loop
from dltrain.entry import train_config

FEEDS = ("resident", "streamed")


def noting(notes: list[Any]):
    """Return what makes a loop that notes the examples of each step before it trains on them."""

    def make(chunk: Any, feed: Any, data: Any, callbacks: Any, **options: Any) -> Loop:
        program, step = feed.__self__, 0
        pick = jax.jit(program._pick)

        def noted(state: Any, data: Any, given: Any, count: Any) -> Any:
            nonlocal step
            for i in range(int(count)):
                batch = pick(data, given, np.int32(i))
                step += 1
                parts = zip(batch["inputs"].addressable_shards, batch["mask"].addressable_shards, strict=True)
                for inputs, mask in parts:
                    ids = np.where(mask.data, np.asarray(inputs.data)[:, 0], -1).astype(int)
                    notes.append([step, inputs.index[0].start or 0, ids.tolist()])
            return chunk(state, data, given, count)

        return Loop(noted, feed, data, callbacks, **options)

    return make


def main(place: str, folder: str, *words: str) -> None:
    """Train with each feed, in the processes that join once."""
    hosts.log_into = lambda path: None  # the streams of a process can only go to the log of one run
    with hosts.joined(json.loads(place), heartbeat=10):
        for feed in FEEDS:
            notes: list[Any] = []
            trainer.Loop = noting(notes)
            own = (*words, f"data.feed={feed}", f"output_dir={folder}/{feed}")
            train_config(compose_words(*own), overrides=own)
            lines = "".join(json.dumps(note) + "\n" for note in notes)
            Path(folder, f"{feed}-{hosts.index()}.jsonl").write_text(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
