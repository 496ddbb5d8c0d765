"""Another Hydra program builds on the config in dltrain's wheel, with a structured config of its own on top."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).parent.parent.parent
CONFIG = """
defaults: [train, my_schema, _self_]
hydra:
  searchpath: [pkg://dltrain.configs]
  run: {dir: .}
  output_subdir: null
mine: {patience: 3}
epochs: 5
"""
PROGRAM = """
from dataclasses import dataclass, field

import hydra
from hydra.core.config_store import ConfigStore


@dataclass
class Mine:
    patience: int = 1


@dataclass
class Config:
    mine: Mine = field(default_factory=Mine)


ConfigStore.instance().store("my_schema", Config)


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(config):
    import dltrain

    print(dltrain.__file__)
    print(config.model._target_, config.optim.learning_rate, config.epochs, config.mine.patience)


main()
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The wheel, unpacked, and a program next to it."""
    folder = tmp_path_factory.mktemp("program")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder / "wheel"), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot build the wheel: {done.stderr[-300:]}")
    (wheel,) = (folder / "wheel").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "installed")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(folder / "installed")}
    line = [sys.executable, "program.py", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=100, cwd=folder, env=env, check=False)


def test_its_choices_and_values_are_there_under_the_programs_own(program):
    done = run(program, "model=linear", "optim.learning_rate=0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        str(program / "installed/dltrain/__init__.py"),
        "dltrain.models.linear.Linear 0.5 5 3",
    ]


def test_the_programs_schema_is_kept(program):
    done = run(program, "mine.patience=often")
    assert done.returncode == 1 and "could not be converted to Integer" in done.stderr
