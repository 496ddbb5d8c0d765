"""A mistake in a user's own module is said with its file and line, and is none of dltrain's."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("quickly_compiled")

GOOD = """
import jax.numpy as jnp
from flax import nnx
from dltrain.types import Spec


class Net(nnx.Module):
    def __init__(self, *, spec: Spec, rngs: nnx.Rngs) -> None:
        self.head = nnx.Linear(spec.input.size, spec.outputs, rngs=rngs)

    def __call__(self, inputs, *, mask=None, rngs=None):
        return self.head(inputs.reshape(len(inputs), -1))
"""
MISTAKES = {
    "a typo in the module": ("import jax.numpy as jnp", "import jax.numpy as jnp\nprnt(1)", "name 'prnt' is not"),
    "a syntax error": ("class Net(nnx.Module):", "class Net(nnx.Module)", "line 7"),
    "a missing import": ("from flax import nnx", "from flax import nnx\nimport nothing_there", "nothing_there"),
    "a typo in the constructor": ("spec.input.size", "spec.inptu.size", "line 9"),
    "a typo in a call": ("self.head(inputs", "self.haed(inputs", "line 12: AttributeError"),
    "a wrong shape": ("inputs.reshape(len(inputs), -1)", "inputs.reshape(-1, 7)", "line 12: "),
    "a wrong index": ("return self.head(", "return [][3](", "line 12: IndexError"),
}
CALLBACK = """
class Diary:
    def __call__(self, event):
        return event.nothing
"""
SOURCE = """
import numpy as np
from dltrain.data.sources.rows import make_rows


def rings():
    x = np.zeros((60, 8, 8, 1), np.float32)
    x[np.arange(60), np.arange(60) % 8, 0] = 1
    return make_rows({"inputs": x, "targets": np.arange(60, dtype=np.int32) % 2}, kind="image", classes=("a", "b"))
"""


@pytest.fixture
def conf(tmp_path: Path) -> Iterator[Path]:
    """A package `ownnet` in the current folder, and YAML that names its parts."""
    (tmp_path / "ownnet").mkdir()
    (tmp_path / "ownnet" / "__init__.py").write_text("")
    (tmp_path / "ownnet" / "callbacks.py").write_text(CALLBACK)
    (tmp_path / "ownnet" / "data.py").write_text(SOURCE)
    for group, target in {"model": "models.Net", "callbacks": "callbacks.Diary", "data": "data.rings"}.items():
        (tmp_path / "conf" / group).mkdir(parents=True)
        node = f"_target_: ownnet.{target}\n"
        node = f"diary:\n  _target_: ownnet.{target}\n" if group == "callbacks" else node
        (tmp_path / "conf" / group / "own.yaml").write_text(node + "task: classification\n" * (group == "data"))
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in [n for n in sys.modules if n.split(".")[0] == "ownnet"]:
        del sys.modules[name]


WORDS = ("-cd", "conf", "trust=[ownnet]", "data=iris", "quiet=true", "steps=2")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_model_is_said_with_file_and_line(dltrain, conf: Path, mistake: str) -> None:
    right, wrong, said_so = MISTAKES[mistake]
    (conf / "ownnet" / "models.py").write_text(GOOD.replace(right, wrong))
    said = dltrain(*WORDS, "model=own", cwd=conf)
    assert said.code == 2, said.err
    assert said_so in said.err and "ownnet/models.py" in said.err, said.err
    assert "internal error" not in said.err and "report it" not in said.err


def test_a_mistake_that_shows_while_training_is_said_with_file_and_line(dltrain, conf: Path) -> None:
    said = dltrain(*WORDS, "model=linear", "callbacks=own", "eval_every=1", "output_dir=run", cwd=conf)
    assert said.code == 2 and "ownnet/callbacks.py, line 4: AttributeError" in said.err, said.err
    assert "Traceback" in (conf / "run" / "train.log").read_text()


def test_what_dltrain_prints_next_trusts_what_the_run_needs(dltrain, conf: Path) -> None:
    (conf / "ownnet" / "models.py").write_text(GOOD)
    words = ("-cd", "conf", "trust=[ownnet]", "data=iris", "model=own", "steps=2", "output_dir=run")
    said = dltrain(*words, cwd=conf, figures=False)
    assert said.code == 0, said.err
    assert "dltrain evaluate run 'trust=[ownnet]'" in said.out
    assert "dltrain resume run epochs=2 'trust=[ownnet]'" in said.out
    again = dltrain(*words, cwd=conf)
    assert again.code == 2 and "dltrain resume run 'trust=[ownnet]'" in again.err
    assert dltrain("resume", "run", "trust=[ownnet]", "steps=3", cwd=conf, figures=False).code == 0


@pytest.mark.slow
def test_a_source_may_name_the_kind_of_its_inputs_in_a_word(dltrain, conf: Path) -> None:
    said = dltrain(
        "-cd", "conf", "trust=[ownnet]", "data=own", "model=linear", "steps=1", "output_dir=run", cwd=conf
    )
    assert said.code == 0, said.err
    assert (conf / "run" / "report" / "samples.png").exists()
