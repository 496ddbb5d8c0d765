"""What the processes of a run decide and exchange: each question has a name, a number and a time limit.

Values go through the key-value store of jax's coordinator, so no device computes for them: a thread may ask while
the devices train. It needs a channel of its own, since all ask the questions of a channel in the same order.
"""

import itertools
import json
from typing import Any, TypeVar

from dltrain.errors import WorkerError

T = TypeVar("T")
WAITING = 60  # heartbeats in which a decision or the end of a run has to come
KEPT = 256  # decisions that stay in the store; no process is behind by as many


class Channel:
    """Decisions, values and barriers of all processes, numbered in the order in which they are asked for."""

    def __init__(self, client: Any, *, name: str, index: int, count: int, heartbeat: float) -> None:
        """Prepare the channel; nothing is sent.

        Args:
            client: of the coordinator's key-value store.
            name: of the channel, the same in all processes and used once.
            index: of this process.
            count: of processes.
            heartbeat: seconds; a process that is not there after `WAITING` of them is an error.
        """
        self.client, self.index, self.count = client, index, count
        self._place, self._limit = f"dltrain/{name}", int(1000 * WAITING * heartbeat)  # milliseconds
        self._numbers, self._sent = itertools.count(), ""

    def agree(self, value: T, name: str) -> T:
        """Return the value of process 0, a JSON value; every process has to ask, in the same order."""
        number = next(self._numbers)
        key = f"{self._place}/decision/{number}"
        if self.index == 0:
            self.client.key_value_set(key, json.dumps([name, value]))
            if number >= KEPT:
                self.client.key_value_delete(f"{self._place}/decision/{number - KEPT}")
            return value
        asked, found = json.loads(self._get(key, name))
        if asked != name:
            raise WorkerError(
                f"process {self.index} waits for {name!r} while process 0 decides on {asked!r}: the processes "
                "do not run the same program; a callback has to do the same in all of them"
            )
        return found

    def wait(self, name: str) -> None:
        """Wait until every process is here."""
        try:
            self.client.wait_at_barrier(f"{self._place}/{name}/{next(self._numbers)}", self._limit)
        except Exception as error:
            raise self._late(name, error) from error

    def gather(self, value: Any, name: str) -> list[Any]:
        """Return the values of all processes, JSON values, in their order."""
        place = f"{self._place}/values/{next(self._numbers)}/"
        self.client.key_value_set(f"{place}{self.index}", json.dumps(value))
        self.wait(name)
        if self._sent:  # whoever is here has read the values before these
            self.client.key_value_delete(self._sent)
        self._sent = f"{place}{self.index}"
        found = {int(key.rpartition("/")[2]): text for key, text in self.client.key_value_dir_get(place)}
        return [json.loads(found[index]) for index in sorted(found)]

    def _get(self, key: str, name: str) -> str:
        try:
            return self.client.blocking_key_value_get(key, self._limit)
        except Exception as error:
            raise self._late(name, error) from error

    def _late(self, name: str, error: Exception) -> WorkerError:
        return WorkerError(
            f"process {self.index} waited for the others ({name}) for {self._limit / 1000:g} s: "
            f"{(str(error).splitlines() or [type(error).__name__])[0]}"
        )
