"""Where the loops of several runs meet: the chunks that they ask for are computed as one."""

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.devices.mesh import on_host
from dltrain.engine.loop import Pace
from dltrain.engine.state import TrainState
from dltrain.engine.step import Logs
from dltrain.lanes.chunk import LaneChunk
from dltrain.types import Array


@dataclass
class _Request:
    """What a loop asks for, and what it gets."""

    state: TrainState
    given: Any
    steps: int
    result: tuple[TrainState, Logs] | None = None
    error: BaseException | None = None


class Meeting:
    """Computes a chunk when every lane that is training has asked for one.

    Each loop runs in a thread of its own. The number of lanes of the program is fixed: the place of a lane that is
    not training is taken by a state that does no steps, so that nothing is compiled again. Lanes of two meetings do
    not wait for each other.
    """

    def __init__(
        self,
        chunk: LaneChunk,
        data: Mapping[str, Array],
        count: int,
        *,
        steps: int,
        device: jax.Device | None = None,
    ) -> None:
        """Expect `count` lanes for the first chunk, which has at most `steps` steps; None: the only device."""
        self.steps, self.device = steps, device
        self._chunk, self._data, self._count = chunk, data, count
        self._changed = threading.Condition()
        self._training = set(range(count))  # numbers of lanes
        self._asked: dict[int, _Request] = {}
        self._spare: list[TrainState] = []  # for the places of lanes that are not training

    def lane(self, number: int) -> "Lane":
        """Return a lane; its number is its own as long as it trains."""
        return Lane(self, number)

    def ask(self, number: int, request: _Request) -> tuple[TrainState, Logs]:
        """Wait until the chunk of this lane is computed."""
        with self._changed:
            self._training.add(number)
            self._asked[number] = request
            self._compute_if_complete()
            self._changed.wait_for(lambda: request.result is not None or request.error is not None)
        if request.error is not None:
            raise request.error
        assert request.result is not None
        return request.result

    def leave(self, number: int) -> None:
        """Let the others go on without this lane."""
        with self._changed:
            self._training.discard(number)
            self._compute_if_complete()

    def join(self, number: int) -> None:
        """Let the others wait for this lane again."""
        with self._changed:
            self._training.add(number)

    def _compute_if_complete(self) -> None:
        if not self._asked or set(self._asked) != self._training:
            return
        asked, self._asked = self._asked, {}
        try:
            self._compute(asked)
        except BaseException as error:
            for request in asked.values():
                request.error = error
        self._changed.notify_all()

    def _compute(self, asked: Mapping[int, _Request]) -> None:
        """Compute a chunk with each lane in its own place: XLA may round differently in another one."""
        some, missing = next(iter(asked.values())), self._count - len(asked)
        while len(self._spare) < missing:
            self._spare.append(jax.tree.map(jnp.copy, some.state))  # a copy: states are donated
        spare, places = iter(self._spare), range(self._count)
        states = tuple(asked[place].state if place in asked else next(spare) for place in places)
        self._spare = list(spare)
        if self.device:  # a member of a population may have the state of one on another device
            states = jax.device_put(states, self.device)
        given = tuple(asked.get(place, some).given for place in places)
        counts = np.array([asked[place].steps if place in asked else 0 for place in places], np.int32)
        new, logs = self._chunk(states, self._data, given, counts)
        logs = on_host(logs)
        for place in places:
            if place in asked:
                asked[place].result = new[place], {name: values[place] for name, values in logs.items()}
            else:
                self._spare.append(new[place])


class Lane:
    """The chunk of one run among several; a callable like that of a run alone."""

    def __init__(self, meeting: Meeting, number: int) -> None:
        """Take a place in the meeting."""
        self._meeting, self._number = meeting, number

    def __call__(self, state: TrainState, data: Any, given: Any, n: Any) -> tuple[TrainState, Logs]:
        """Train n steps together with the other lanes."""
        del data  # the same for all lanes
        return self._meeting.ask(self._number, _Request(state, given, int(n)))

    def on_device(self) -> contextlib.AbstractContextManager[Any]:
        """Let this thread compute on the device of this lane."""
        device = self._meeting.device
        return jax.default_device(device) if device else contextlib.nullcontext()

    def make_pace(self) -> Pace:
        """Return a pace that stays: lanes whose chunks differ in length would wait for one another."""
        return FixedPace(self._meeting.steps, steps=self._meeting.steps)

    def close(self) -> None:
        """Leave the other lanes to themselves."""
        self._meeting.leave(self._number)

    def open(self) -> None:
        """Train with the other lanes again."""
        self._meeting.join(self._number)


class FixedPace(Pace):
    """A number of steps that does not follow the time they take."""

    def update(self, steps: int, seconds: float) -> None:
        """Change nothing."""
