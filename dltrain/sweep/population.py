"""A population while it trains: its members meet at each exchange, and each exchange is written down.

The order at an exchange keeps the checkpoints of all members consistent, wherever the process is killed:

1. Every member evaluates, and waits for the others. The last one decides for all.
2. Every member writes a checkpoint of the state with which it goes on; that of the exchange before stays meanwhile.
3. When all are written, the exchange is added to `pbt.json`, in one rename, and the members go on.

Whoever resumes goes back to the last exchange in the file, of which every member has the checkpoint.

A few lines over 300, since the members and what they wait for share one lock.
"""

import copy
import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from dltrain.build.parts import with_numbers
from dltrain.build.program import Program
from dltrain.callbacks.signals import Signals
from dltrain.engine.evaluate import Evaluation
from dltrain.engine.events import Replace, TrainEvent
from dltrain.engine.state import TrainState
from dltrain.errors import ConfigError
from dltrain.runs.files import Files
from dltrain.runs.sealed import read_sealed, seal
from dltrain.runs.sweep_files import POPULATION
from dltrain.sweep import pbt
from dltrain.sweep.groups import SweepJob
from dltrain.sweep.measure import Choice, choose_lanes
from dltrain.sweep.space import Dimension
from dltrain.training import Prepared

SECONDS = 0.2  # between two looks for a signal while a member waits


@dataclass
class _Offer:
    """What a member brings to an exchange, and what it gets."""

    step: int
    state: TrainState
    results: Mapping[str, Evaluation]
    value: float
    member: "Member"
    decided: bool = False
    error: BaseException | None = None
    source: "_Offer | None" = None  # whose state it copies


@dataclass
class _Round:
    """An exchange that was decided, until it is written down."""

    step: int
    members: dict[int, dict[str, Any]]  # what is written of each
    open: set[int]  # members whose checkpoint is not written yet
    saved: list["Member"] = field(default_factory=list)
    best: dict[int, int | None] = field(default_factory=dict)
    error: BaseException | None = None
    done: bool = False


class Population:
    """The members that train together; used from the thread of each."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Go on with what the file of the population says; `folder` is that of the sweep."""
        self.folder, self._about = folder, dict(about)
        self._space = tuple(Dimension.from_json(saved) for saved in about["space"])
        self._changed = threading.Condition()
        self._training: set[int] = set()  # members that have not left
        self._offers: dict[int, _Offer] = {}
        self._round: _Round | None = None
        self._stopped = False  # by a signal: nothing is decided any more

    @property
    def numbers(self) -> dict[int, dict[str, float]]:
        """The current numbers of each member."""
        found = {int(member): numbers for member, numbers in self._about["members"].items()}
        for done in self._about["exchanges"]:
            found |= {int(member): given["numbers"] for member, given in done["members"].items()}
        return found

    @property
    def last(self) -> Mapping[str, Any]:
        """The last exchange, empty before the first."""
        return self._about["exchanges"][-1] if self._about["exchanges"] else {}

    def resumed_at(self, number: int) -> int | None:
        """Return the step from which a member goes on; None for one that took no part in the last exchange."""
        return self.last["step"] if str(number) in self.last.get("members", {}) else None

    def steps(self, program: Program) -> int:
        """Return the steps between two exchanges."""
        evaluation = program.plan.eval_every.steps(program.parts.pipeline.steps_per_epoch)
        assert evaluation is not None
        return evaluation * self._about["interval"]

    def write(self) -> None:
        """Write the file."""
        Files(self.folder).replace_json(POPULATION, seal(self._about))

    def choose_lanes(
        self, program: Program, jobs: Sequence[SweepJob], *, begun: int | None, shares: int | None
    ) -> Choice:
        """Return the lanes of the members, one for each, also where they are no faster than one after the other.

        Raises:
            ConfigError: members cannot train together.
        """
        plan = program.plan
        if plan.monitor is None:
            raise ConfigError("sweep=pbt: compares members by the monitored metric; set data.validation=0.1")
        if plan.eval_every.seconds is not None:
            raise ConfigError("eval_every: sweep=pbt needs a number of steps or epochs, such as eval_every=1ep")
        choice = choose_lanes(program, jobs=len(jobs), begun=begun, shares=shares, least_gain=0.0)
        if choice.lanes < len(jobs):
            raise ConfigError(f"sweep=pbt: its {len(jobs)} members do not fit into one program: {choice.why}")
        self._training = {job.number for job in jobs}
        return choice

    def member(self, number: int, prepared: Prepared, signals: Signals) -> "Member":
        """Return the part of one run, which was prepared as a lane."""
        return Member(self, number, prepared, signals)

    def leave(self, number: int) -> None:
        """Let the others go on without this member, which has ended."""
        with self._changed:
            self._training.discard(number)
            self._decide_if_complete()
            if self._round:
                self._round.open.discard(number)
                self._write_if_complete()

    def meet(self, offer: _Offer) -> None:
        """Wait until the exchange is decided; a signal ends the wait without one."""
        step, member = offer.step, offer.member
        if step <= self.last.get("step", 0) or self._stopped:
            return
        member.pause()
        with self._changed:
            self._offers[member.number] = offer
            self._decide_if_complete()
            while not self._changed.wait_for(lambda: offer.decided, SECONDS):
                if member.signals.received:
                    self._stopped = True
                    self._decide_if_complete()
        if offer.error is not None:
            raise offer.error

    def commit(self, member: "Member", step: int, best: int | None) -> None:
        """Wait until the checkpoints of this step are written by all, and the exchange is."""
        member.pause()
        with self._changed:
            this = self._round
            if this is None or this.step != step or member.number not in this.open:
                member.go_on()
                return
            this.saved.append(member)
            this.best[member.number] = best
            this.open.discard(member.number)
            self._write_if_complete()
            self._changed.wait_for(lambda: this.done)
        if this.error is not None:
            raise this.error

    def _decide_if_complete(self) -> None:
        if not self._offers or not (self._stopped or self._training <= set(self._offers)):
            return
        offers, self._offers = self._offers, {}
        self._stopped = self._stopped or any(offer.member.signals.received for offer in offers.values())
        error = None
        try:
            if not self._stopped:
                self._decide(offers)
        except BaseException as raised:  # in the thread of the last member, and none may wait for ever
            error = raised
        for offer in offers.values():
            offer.decided, offer.error = True, error
            offer.member.go_on()
        self._changed.notify_all()

    def _decide(self, offers: Mapping[int, _Offer]) -> None:
        some = next(iter(offers.values()))
        values, now = {number: offer.value for number, offer in offers.items()}, self.numbers
        copies = pbt.exchange(
            dict(sorted(values.items())),
            now,
            self._space,
            higher=some.member.higher,
            seed=self._about["seed"],
            number=len(self._about["exchanges"]) + 1,
            resample=self._about["resample"],
        )
        members = {}
        for number, offer in sorted(offers.items()):
            found = copies.get(number)
            offer.source = offers[found.source] if found else None
            offer.member.numbers = dict(found.numbers if found else now[number])
            value = offer.value if math.isfinite(offer.value) else None
            members[number] = {
                "value": value,
                "source": found.source if found else None,
                "numbers": offer.member.numbers,
            }
        self._round = _Round(some.step, members, set(offers))

    def _write_if_complete(self) -> None:
        """Write the exchange down when all checkpoints are there; a member that has ended needs none."""
        this = self._round
        if this is None or this.open or this.done:
            return
        try:
            members = {str(number): given for number, given in this.members.items()}
            self._about["exchanges"].append({"step": this.step, "members": members})
            self.write()
        except BaseException as error:
            this.error = error
        for member in this.saved:
            best = this.best[member.number]
            member.held = {this.step} if best is None else {this.step, best}
            member.go_on()
        this.done = True
        self._changed.notify_all()


class Member:
    """The part of one run; see `callbacks.exchange.Exchange`."""

    def __init__(self, population: Population, number: int, prepared: Prepared, signals: Signals) -> None:
        """Begin with the numbers that the population has for it."""
        program, plan = prepared.program, prepared.program.plan
        assert plan.monitor is not None
        self.number, self.signals, self.higher = number, signals, plan.monitor.higher_is_better
        self.numbers: Mapping[str, float] = population.numbers[number]
        self.steps = population.steps(program)
        at = population.resumed_at(number)
        self.held: Collection[int] = set() if at is None else {at}
        self._population, self._monitor, self._program = population, plan.monitor, program
        self._leaves = _leaves_of(prepared)

    def meet(self, event: TrainEvent) -> Replace | None:
        """Wait for the other members; return the state of one of them, with other numbers, or None."""
        value = float(event.results[self._monitor.split].scalars[self._monitor.name])
        offer = _Offer(event.step, event.state, dict(event.results), value, self)
        self._population.meet(offer)
        if offer.source is None:
            return None
        own, other = event.state, offer.source
        state = jax.tree.map(jnp.copy, other.state)  # a copy: the other run donates its own
        hparams = {**state.hparams, **self._leaves(self.numbers), "total_steps": own.hparams["total_steps"]}
        state = replace(
            state, hparams=hparams, key=own.key, step=own.step, left_out=own.left_out, active=own.active
        )
        return Replace(self._program.place(state), other.results)

    def commit(self, step: int, best: int | None) -> None:
        """Wait until all members have written their checkpoints, and the exchange is written down."""
        self._population.commit(self, step, best)

    def pause(self) -> None:
        """Let the other lanes train on while this one waits."""
        if self._program.lane:
            self._program.lane.close()

    def go_on(self) -> None:
        """Let the other lanes wait for this one again."""
        if self._program.lane:
            self._program.lane.open()


def _leaves_of(prepared: Prepared) -> Callable[[Mapping[str, float]], dict[str, Any]]:
    """Return what turns numbers of the config into leaves of the state, in the way in which a run begins."""
    parts, composed, differences = prepared.program.parts, prepared.composed, prepared.program.differences

    def leaves(numbers: Mapping[str, float]) -> dict[str, Any]:
        config = copy.deepcopy(dict(composed.config))
        for key, value in numbers.items():
            *path, name = key.split(".")
            node = config
            for part in path:
                node = node[part]
            node[name] = value
        found: dict[str, Any] = dict(with_numbers(parts, config, composed.trust).hparams)
        found |= differences.numbers(parts, config)
        return {name: jnp.float32(value) for name, value in found.items() if name != "scale"}

    return leaves


def begin_population(
    folder: Path, space: Sequence[Dimension], *, settings: Mapping[str, Any]
) -> tuple[Population, list[dict[str, float]]]:
    """Return a new population, whose file is not written yet, and the numbers with which its members begin."""
    numbers = pbt.begin(space, members=settings["trials"], seed=settings["seed"])
    about = {name: settings[name] for name in ("interval", "seed", "resample")}
    about |= {"space": [dimension.to_json() for dimension in space], "exchanges": []}
    return Population(folder, about | {"members": {str(n): given for n, given in enumerate(numbers)}}), numbers


def read_population(folder: Path) -> Population:
    """Read the population of a sweep, or raise CheckpointError if its file is damaged."""
    return Population(folder, read_sealed(folder / POPULATION))
