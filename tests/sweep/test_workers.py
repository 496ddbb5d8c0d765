"""Workers have a next task as soon as they are idle; one that dies ends its own task only."""

import heapq
import math
import signal
import time

import numpy as np
import optuna
import pytest
from tasks import make_work

from dltrain.sweep.search import Ended, Search
from dltrain.sweep.space import Dimension
from dltrain.sweep.study import make_samplers
from dltrain.sweep.workers import Event, Workers, keep_busy

RATE = Dimension("rate", (), 1e-5, 1e-1, log=True)


class Simulated:
    """Workers whose tasks take simulated time: the length of a task is `seconds(task)`."""

    def __init__(self, count, seconds):
        self.count, self.seconds, self.clock, self.worked = count, seconds, 0.0, 0.0
        self.tasks, self.ends = {}, []

    @property
    def idle(self):
        return [n for n in range(self.count) if n not in self.tasks]

    @property
    def busy(self):
        return list(self.tasks)

    def give(self, number, task):
        length = self.seconds(task)
        self.tasks[number] = task
        self.worked += length
        heapq.heappush(self.ends, (self.clock + length, number))

    def wait(self):
        self.clock, number = heapq.heappop(self.ends)
        return [Event(number, self.tasks.pop(number), "done", None)]

    @property
    def idle_share(self):
        return 1 - self.worked / (self.count * self.clock)


def make_search(trials, workers=4, sampler="tpe"):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, pruner=optuna.pruners.NopPruner())
    make = make_samplers(sampler, 0)
    return Search(study, storage, (RATE,), trials=trials, workers=workers, make_sampler=make)


def loss(proposal) -> float:
    return (math.log10(float(proposal.words[0].partition("=")[2])) + 3) ** 2


def test_workers_are_idle_less_than_a_twentieth_where_lengths_differ_tenfold():
    lengths = 10 ** np.random.default_rng(0).uniform(0, 1, 120)

    def run(pool, search):
        keep_busy(
            pool,
            search.propose_one,
            lambda event: search.tell(event.task, Ended((loss(event.task),))),
            stopping=lambda: False,
        )

    pool, search = Simulated(4, lambda proposal: lengths[proposal.number]), make_search(120)
    run(pool, search)
    batches = make_search(120)
    whole = 0.0
    while batch := batches.propose():
        whole += max(lengths[proposal.number] for proposal in batch)
        for proposal in batch:
            batches.tell(proposal, Ended((loss(proposal),)))
    idle = 1 - lengths.sum() / (4 * whole)
    print(f"idle with 4 workers, lengths of 1 to 10: {pool.idle_share:.1%} one by one, {idle:.1%} in batches")
    assert [job for job, trial in search.results() if trial.state.is_finished()] == [*range(120)]
    assert pool.idle_share < 0.05 < idle


def test_no_task_begins_after_stopping():
    pool, begun = Simulated(2, lambda task: 1.0), []

    def next_task():
        begun.append(len(begun))
        return begun[-1]

    keep_busy(pool, next_task, lambda event: None, stopping=lambda: len(begun) >= 5)
    assert begun == [0, 1, 2, 3, 4] and not pool.busy


def run(count, tasks):
    """Run tasks in processes; return the events, and answer each question with its double."""
    waiting, events = list(tasks), []
    workers = Workers(count, make_work)

    def handle(event):
        events.append(event)
        if event.kind == "asked":
            workers.answer(event.worker, 2 * event.value)

    try:
        keep_busy(workers, lambda: waiting.pop(0) if waiting else None, handle, stopping=lambda: False)
    finally:
        workers.close()
    return events


def test_a_process_that_dies_ends_its_own_task_only():
    tasks = [("die", signal.SIGKILL), ("ask", 21), ("session", 0), ("exit", 3), ("id", 0)]
    events = run(2, tasks)
    ends = {event.task[0]: event for event in events if event.kind in ("done", "died")}
    assert [ends[name].kind for name, _ in tasks] == ["died", "done", "done", "died", "done"]
    assert ends["die"].value.code == -signal.SIGKILL and "killed (SIGKILL)" in str(ends["die"].value)
    assert str(ends["exit"].value) == "its process ended with exit code 3"
    assert ends["ask"].value == 42 and ends["session"].value is True
    assert "asks 21" in [event.value for event in events if event.kind == "told"]


def test_an_interrupted_task_says_what_came_of_it():
    workers = Workers(1, make_work)
    workers.give(0, ("wait for a signal", 0))
    events = []
    while workers.busy:
        for event in workers.wait():
            events.append(event.kind)
            if event.kind == "told":
                workers.interrupt()
            else:
                assert event.value == signal.SIGINT
    workers.close()
    assert events == ["told", "done"] and not workers.started


def test_close_ends_a_process_in_the_middle_of_its_task():
    workers = Workers(1, make_work)
    workers.give(0, ("sleep", 60))
    process = workers._processes[0][0]
    workers.close()
    assert not process.is_alive() and not workers.busy


@pytest.mark.slow
def test_processes_wait_for_their_next_trial_as_long_as_tpe_needs_to_choose_it():
    """The share is printed, for docs/performance.md: time on a machine with other work is nothing to assert on."""
    lengths = 10 ** np.random.default_rng(1).uniform(math.log10(0.3), math.log10(3), 80)
    search, workers, begun = make_search(80), Workers(4, make_work), {}
    for number in workers.idle:  # each process starts
        workers.give(number, ("id", 0))
    keep_busy(workers, lambda: None, lambda event: None, stopping=lambda: False)

    def next_task():
        if (proposal := search.propose_one()) is None:
            return None
        begun[proposal.number] = proposal
        return "sleep", lengths[proposal.number], proposal.number

    def handle(event):
        proposal = begun.pop(event.task[2])
        search.tell(proposal, Ended((loss(proposal),)))

    start = time.perf_counter()
    keep_busy(workers, next_task, handle, stopping=lambda: False)
    whole = time.perf_counter() - start
    workers.close()
    idle = 1 - lengths.sum() / (4 * whole)
    print(f"4 processes, 80 tasks of 0.3 to 3 s, chosen by TPE: idle {idle:.1%} of {whole:.1f} s")
    assert not begun and all(trial.state.is_finished() for _, trial in search.results())
