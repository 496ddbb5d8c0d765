"""What processes decide and exchange through a channel: the same values in all of them, and no wait without end."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from dltrain.devices.channel import Channel
from dltrain.errors import WorkerError


class Store:
    """The key-value store of a coordinator, as jax's client offers it, for threads."""

    def __init__(self, count: int) -> None:
        self.values: dict[str, str] = {}
        self.changed = threading.Condition()
        self.barriers: dict[str, threading.Barrier] = {}
        self.count = count

    def key_value_set(self, key: str, value: str) -> None:
        with self.changed:
            assert key not in self.values
            self.values[key] = value
            self.changed.notify_all()

    def key_value_delete(self, key: str) -> None:
        with self.changed:
            del self.values[key]

    def blocking_key_value_get(self, key: str, limit: int) -> str:
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.values, limit / 1000):
                raise RuntimeError(f"DEADLINE_EXCEEDED: {key}\nmore")
            return self.values[key]

    def key_value_dir_get(self, place: str) -> list[tuple[str, str]]:
        with self.changed:
            return [(key, value) for key, value in self.values.items() if key.startswith(place)]

    def wait_at_barrier(self, name: str, limit: int) -> None:
        with self.changed:
            barrier = self.barriers.setdefault(name, threading.Barrier(self.count))
        barrier.wait(limit / 1000)


def in_each(store: Store, do: Callable[[Channel], Any], *, heartbeat: float = 0.2) -> list[Any]:
    """Call a function with the channel of each process, each in a thread; return what they return or raise."""
    found: list[Any] = [None] * store.count

    def one(index: int) -> None:
        channel = Channel(store, name="test", index=index, count=store.count, heartbeat=heartbeat)
        try:
            found[index] = do(channel)
        except Exception as error:
            found[index] = error

    threads = [threading.Thread(target=one, args=(index,)) for index in range(store.count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


def test_all_get_the_value_of_process_0_and_everybody_s_values_in_order() -> None:
    def talk(channel: Channel) -> list[Any]:
        first = channel.agree([channel.index], "first")
        return [first, channel.gather({"of": channel.index}, "values"), channel.agree(channel.index, "last")]

    expected = [[0], [{"of": 0}, {"of": 1}, {"of": 2}], 0]
    assert in_each(Store(3), talk) == [expected] * 3


def test_values_of_earlier_questions_are_deleted() -> None:
    store = Store(2)
    in_each(store, lambda channel: [channel.gather("x" * 100, "values") for _ in range(5)])
    assert sorted(store.values) == ["dltrain/test/values/8/0", "dltrain/test/values/8/1"]


def test_a_process_that_asks_something_else_is_told() -> None:
    found = in_each(Store(2), lambda channel: channel.agree(1, f"question of {channel.index}"))
    assert found[0] == 1 and isinstance(found[1], WorkerError)
    assert "waits for 'question of 1' while process 0 decides on 'question of 0'" in str(found[1])


@pytest.mark.parametrize("ask", ["agree", "gather"])
def test_no_process_waits_longer_than_the_limit(ask: str) -> None:
    def talk(channel: Channel) -> Any:
        absent = channel.index == (0 if ask == "agree" else 1)
        return None if absent else getattr(channel, ask)(1, "something")

    found = [error for error in in_each(Store(2), talk, heartbeat=0.005) if error]
    assert len(found) == 1 and isinstance(found[0], WorkerError)
    assert "waited for the others (something) for 0.3 s" in str(found[0])
