"""A run that does not fit is refused before the first step, with a batch size that fits."""

import re
from types import SimpleNamespace

import jax
import pytest

from dltrain.devices import memory
from dltrain.devices.memory import Room
from dltrain.errors import MemoryExhausted

WORDS = ("model.widths=[256]", "batch_size=1024", "steps=1", "eval_every=1", "quiet=true", "output_dir=run")

pytestmark = pytest.mark.usefixtures("without_figures", "quickly_compiled")


@pytest.fixture
def room(monkeypatch):
    def leave(count: int) -> None:
        monkeypatch.setattr(memory, "host_room", lambda: Room(count, "of a test's memory"))

    return leave


def test_run_that_does_not_fit_ends_with_8_and_a_batch_size_that_fits(dltrain, room, tmp_path):
    room(2 * 2**20)
    result = dltrain(*WORDS, cwd=tmp_path)
    assert result.code == 8
    assert re.search(
        r"training needs \d+\.\d MiB: state 0\.\d MiB, no copy of the data \(0\.1 MiB\), .* 1024 examples",
        result.err,
    )
    assert "MiB of a test's memory, after" in result.err and "are left" in result.err
    assert not (tmp_path / "run").exists()
    fits, pieces = re.search(r"batch_size=(\d+) would fit; optim\.accumulate=(\d+)", result.err).groups()
    assert int(fits) * int(pieces) == 1024
    assert dltrain(*WORDS, f"batch_size={fits}", "eval_batch_size=64", cwd=tmp_path).code == 0
    assert dltrain(*WORDS, f"batch_size={2 * int(fits)}", "output_dir=other", cwd=tmp_path).code == 8


def test_message_names_the_model_if_no_batch_size_fits(dltrain, room, tmp_path):
    room(1000)
    result = dltrain("data=iris", "model.widths=[4]", "batch_size=2", cwd=tmp_path)
    assert result.code == 8 and "no smaller batch would fit" in result.err


def test_evaluation_that_does_not_fit_is_an_error(dltrain, room, tmp_path):
    room(5 * 2**20)
    result = dltrain(*WORDS, "batch_size=8", "eval_batch_size=100000", cwd=tmp_path)
    assert result.code == 8
    assert re.search(r"evaluation needs .* 100000 examples at once.*try eval_batch_size=25000", result.err)


def test_running_out_of_memory_later_is_not_a_bug_of_dltrain(dltrain, monkeypatch, tmp_path):
    def full(*given):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12345 bytes.")

    monkeypatch.setattr("dltrain.build.program.Program.start", full)
    result = dltrain("data=iris", "quiet=true", "output_dir=run", cwd=tmp_path)
    assert result.code == 8
    assert "out of memory: RESOURCE_EXHAUSTED" in result.err and "batch_size" in result.err
    assert "Traceback" in (tmp_path / "run" / "train.log").read_text()


def test_room_is_the_smallest_limit(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda name: (10**15, 10**15))
    generous = memory.host_room()
    assert 0 < generous.bytes < 10**14
    used = sum(memory._numbers(memory.Path("/proc/self/status"), ("VmData:",))) * 1024
    monkeypatch.setattr(resource, "getrlimit", lambda name: (used + 10**6, 10**15))
    tight = memory.host_room()
    assert tight.bytes < 10**6 and "ulimit" in tight.limit


GROUPS = {
    # version 2: one tree; the outer group allows less than the own one, the root sets no limit
    "a/memory.max": "1000000",
    "a/memory.current": "400000",
    "a/memory.stat": "anon 1\nactive_file 7\ninactive_file 50000\n",
    "a/b/memory.max": "5000000",
    "a/b/memory.current": "100000",
    "memory.max": "max",
    "memory.current": "1",
    # version 1: a tree for memory alone
    "memory/c/memory.limit_in_bytes": "900000",
    "memory/c/memory.usage_in_bytes": "850000",
    # not of this process
    "other/memory.max": "10",
    "other/memory.current": "0",
}


@pytest.mark.parametrize(
    ("lines", "rooms"),
    [
        ("0::/a/b\n", {650_000: "a/memory.max", 4_900_000: "a/b/memory.max"}),
        ("0::/a\n", {650_000: "a/memory.max"}),
        ("0::/\n", {}),
        ("5:cpu:/x\n4:memory:/c\n", {50_000: "memory/c/memory.limit_in_bytes"}),
    ],
)
def test_each_enclosing_control_group_limits_memory(tmp_path, lines, rooms):
    for name, text in GROUPS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "cgroup").write_text(lines)
    found = list(memory._of_groups(tmp_path, tmp_path / "cgroup"))
    limits = {count: f"of what the control group allows ({tmp_path / name})" for count, name in rooms.items()}
    assert {room.bytes: room.limit for room in found} == limits and len(found) == len(rooms)
    assert list(memory._of_groups(tmp_path, tmp_path / "none")) == []


def test_memory_of_a_device_is_used_if_it_reports_it(monkeypatch):
    stats = {"bytes_limit": 5_000_000, "bytes_in_use": 1_000_000, "peak_bytes_in_use": 2_000_000}
    monkeypatch.setattr(memory.jax, "local_devices", lambda: [SimpleNamespace(memory_stats=lambda: stats)])
    assert not memory.on_host()
    assert memory.device_room() == Room(4_000_000, "of the device's memory")
    assert memory.room_for_data() == 1_600_000
    assert memory.peak()["device"] == 2_000_000
    stats.clear()  # as a processor does
    assert memory.on_host() and memory.device_room().limit != "of the device's memory"


def test_peak_is_at_least_the_memory_in_use():
    held = bytearray(50 * 2**20)
    assert memory.peak()["host"] > len(held)


def test_a_state_that_is_gathered_for_checkpoints_has_to_fit(room):
    state = {"kernel": jax.ShapeDtypeStruct((1024, 256), "float32")}  # 1 MiB, of which two copies are made
    room(2 * 2**20)
    memory.check_gathered(state)
    room(2 * 2**20 - 1)
    with pytest.raises(MemoryExhausted, match=r"2.0 MiB on each host.*choose an output_dir that all of them see"):
        memory.check_gathered(state)


def test_the_memory_of_a_device_follows_from_the_share_that_jax_may_use():
    stats = {"peak_bytes_in_use": 5, "bytes_limit": 60, "bytes_in_use": 1}
    assert memory.device_use(stats, {}) == (5, 80)  # jax's own share is three quarters
    assert memory.device_use(stats, {"XLA_CLIENT_MEM_FRACTION": "0.5"}) == (5, 120)
    assert memory.device_use(stats, {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.6"}) == (5, 100)
    assert memory.device_use({}, {}) is None and memory.device_use() is None  # a CPU
