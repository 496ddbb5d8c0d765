"""The cache of compiled programs: what does not match its checksum is never loaded."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dltrain.devices.programs import SUFFIX, ProgramCache


@pytest.fixture
def cache(tmp_path):
    return ProgramCache(tmp_path / "cache", most=10_000)


def entry(cache, key="a") -> Path:
    return cache.folder / f"{key}{SUFFIX}"


def test_what_is_put_is_returned(cache):
    assert cache.get("a") is None
    cache.put("a", b"program")
    cache.put("b", b"")
    assert (cache.get("a"), cache.get("b")) == (b"program", b"")
    assert ProgramCache(cache.folder, most=10_000).get("a") == b"program"


DAMAGE = {
    "truncated": lambda content: content[:-1],
    "empty": lambda content: b"",
    "grown": lambda content: content + b"x",
    "flipped": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    "flipped checksum": lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:],
    "zeros": lambda content: bytes(len(content)),
    "without a checksum": lambda content: b"program",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_entry_is_dropped_and_replaced(cache, kind, capsys):
    cache.put("a", b"program")
    entry(cache).write_bytes(DAMAGE[kind](entry(cache).read_bytes()))
    assert cache.get("a") is None
    assert "a-cache in " in capsys.readouterr().err and not entry(cache).exists()
    cache.put("a", b"another")
    assert cache.get("a") == b"another"


def test_an_exchanged_entry_is_dropped(cache, capsys):
    cache.put("a", b"one")
    cache.put("b", b"two")
    one, two = entry(cache, "a").read_bytes(), entry(cache, "b").read_bytes()
    entry(cache, "a").write_bytes(two)
    entry(cache, "b").write_bytes(one)
    assert cache.get("a") is None and cache.get("b") is None
    assert capsys.readouterr().err.count("is damaged: it is dropped and compiled again") == 2


def test_a_folder_in_place_of_an_entry_is_replaced(cache):
    entry(cache).mkdir(parents=True)
    assert cache.get("a") is None
    cache.put("a", b"program")
    assert cache.get("a") == b"program"


def test_the_least_recently_used_make_room(cache):
    for i in range(5):
        cache.put(str(i), bytes(1900))
        os.utime(entry(cache, str(i)), (i, i))
    assert cache.get("0") is not None  # used again
    cache.put("5", bytes(1900))
    left = {i for i in range(6) if entry(cache, str(i)).exists()}
    assert {0, 5} <= left and 1 not in left
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 10_000
    cache.put("large", bytes(20_000))
    assert not entry(cache, "large").exists()


def test_a_folder_that_cannot_be_written_is_reported_once(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    cache = ProgramCache(tmp_path / "file", most=10_000)
    cache.put("a", b"program")
    cache.put("b", b"program")
    assert cache.get("a") is None
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"compiled programs are not kept: {tmp_path / 'file'}" in said


COMPILE = """
import sys
from dltrain.devices import runtime
runtime.WORTH_KEEPING = 0
runtime.start(platform="cpu", threads=None, deterministic=False, cache=True)
import jax, jax.numpy as jnp
print([float(jax.jit(lambda x: jnp.sin(x).sum() * n)(jnp.arange(8.0))) for n in range(2, 5)])
"""


def test_a_process_compiles_again_what_was_damaged(tmp_path):
    def compiled() -> tuple[str, str]:
        env = {**os.environ, "DLTRAIN_CACHE": str(tmp_path), "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, "-c", COMPILE], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    first, said = compiled()
    entries = sorted(tmp_path.rglob(f"*{SUFFIX}"))
    assert len(entries) >= 3 and said == ""
    rng = random.Random(0)
    contents = [path.read_bytes() for path in entries]
    for path, content in zip(entries, [*contents[1:], contents[0]], strict=True):
        path.write_bytes(content)  # each has the content of the next
    broken = bytearray(contents[0])
    broken[rng.randrange(len(broken))] ^= 1
    entries[0].write_bytes(broken)
    again, said = compiled()
    assert again == first
    assert said.count("is damaged: it is dropped and compiled again") == len(entries) == said.count("\n")
    assert compiled() == (first, "")
