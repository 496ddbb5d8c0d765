"""Where the loops of several runs meet: the chunks that they ask for are computed as one."""

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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


@dataclass
class Share:
    """The lanes that one device computes, and the data that it has a copy of."""

    data: Mapping[str, Array]
    device: jax.Device | None = None  # None: there is only one
    spare: list[TrainState] = field(default_factory=list)  # for the places of lanes that are not training


class Meeting:
    """Computes a chunk when every lane that is training has asked for one.

    Each loop runs in a thread of its own. The number of lanes of the program is fixed: the place of a lane that is
    not training is taken by a state that does no steps, so that nothing is compiled again. Several devices have as
    many lanes each, one device after the other; they compute at the same time, and exchange nothing.
    """

    def __init__(self, chunk: LaneChunk, shares: Sequence[Share], count: int, *, steps: int) -> None:
        """Expect `count` lanes for the first chunk, a multiple of the shares; a chunk has at most `steps` steps."""
        self.steps = steps
        self._chunk, self._shares, self._each = chunk, shares, count // len(shares)
        self._changed = threading.Condition()
        self._training = set(range(count))  # numbers of lanes
        self._asked: dict[int, _Request] = {}

    def lane(self, number: int) -> "Lane":
        """Return a lane; its number is its own as long as it trains."""
        place = number // self._each
        return Lane(self, number, place, self._shares[place].device)

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
        started = []
        for number, share in enumerate(self._shares):
            places = range(number * self._each, (number + 1) * self._each)
            if mine := {place: asked[place] for place in places if place in asked}:
                started.append((share, places, mine, self._start(share, places, mine)))
        for share, places, mine, (new, logs) in started:
            logs = jax.device_get(logs)
            share.spare += [new[i] for i, place in enumerate(places) if place not in mine]
            for i, place in enumerate(places):
                if place in mine:
                    mine[place].result = new[i], {name: values[i] for name, values in logs.items()}

    def _start(self, share: Share, places: range, asked: Mapping[int, _Request]) -> tuple[Any, Logs]:
        """Let a device begin the chunk of its lanes."""
        some, missing = next(iter(asked.values())), len(places) - len(asked)
        while len(share.spare) < missing:
            share.spare.append(jax.tree.map(jnp.copy, some.state))  # a copy: states are donated
        spare = iter(share.spare)
        states = tuple(asked[place].state if place in asked else next(spare) for place in places)
        share.spare = list(spare)
        if share.device:  # a member of a population may have the state of one on another device
            states = jax.device_put(states, share.device)
        given = tuple(asked.get(place, some).given for place in places)
        counts = np.array([asked[place].steps if place in asked else 0 for place in places], np.int32)
        return self._chunk(states, share.data, given, counts)


class Lane:
    """The chunk of one run among several; a callable like that of a run alone."""

    def __init__(self, meeting: Meeting, number: int, share: int, device: jax.Device | None) -> None:
        """Take a place in the meeting, among the lanes of a device."""
        self._meeting, self._number = meeting, number
        self.share, self._device = share, device

    def __call__(self, state: TrainState, data: Any, given: Any, n: Any) -> tuple[TrainState, Logs]:
        """Train n steps together with the other lanes."""
        del data  # the same for all lanes
        return self._meeting.ask(self._number, _Request(state, given, int(n)))

    def on_device(self) -> contextlib.AbstractContextManager[Any]:
        """Let this thread compute on the device of this lane."""
        return jax.default_device(self._device) if self._device else contextlib.nullcontext()

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
