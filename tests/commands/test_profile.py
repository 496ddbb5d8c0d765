"""`profile=true` writes a trace that TensorBoard and Perfetto can open, and a summary of where the time went."""

import gzip
import json
import re
from types import SimpleNamespace

import pytest
from jax.profiler import ProfileData

from dltrain.report import finish

pytestmark = pytest.mark.slow  # tests/callbacks/test_profile.py records by default


@pytest.fixture(scope="module")
def profiled(dltrain, tmp_path_factory):
    """A short run of an MLP with one hidden layer, without events between its steps."""
    cwd = tmp_path_factory.mktemp("profiled")
    words = ("data=iris", "model.widths=[32]", "steps=40", "eval_every=40", "checkpoint_every=40", "profile=true")
    result = dltrain(*words, "output_dir=a run", cwd=cwd, figures=False)
    assert result.code == 0, result.err
    text = (cwd / "a run" / "report" / "profile.txt").read_text()
    return SimpleNamespace(folder=cwd / "a run", out=result.out, text=text)


def test_trace_is_where_tensorboard_and_perfetto_find_it(profiled):
    (folder,) = (profiled.folder / "tensorboard" / "plugins" / "profile").iterdir()
    (planes,) = folder.glob("*.xplane.pb")
    assert "/host:CPU" in [plane.name for plane in ProfileData.from_file(str(planes)).planes]
    (events,) = folder.glob("*.trace.json.gz")
    with gzip.open(events) as file:
        assert json.load(file)["traceEvents"]


def test_shares_add_up_and_matrix_products_are_counted(profiled):
    steps = re.match(
        r"profile     steps (\d+) to (\d+): (\d+) steps in [\d.]+ s, [\d.]+ ms per step\n", profiled.text
    )
    first, last, count = map(int, steps.groups())
    assert 1 < first < last <= 40 and count == last - first + 1
    busy = float(re.search(r"device busy ([\d.]+)% of the time", profiled.text)[1])
    assert 0 < busy <= 100
    table = profiled.text.split("runs/step\n")[1].split("\n\n")[0].splitlines()
    rows = [re.fullmatch(r"(.+?) +([\d.]+) s +([\d.]+)% +([\d.]+) +([\d.]+)", line).groups() for line in table]
    shares = [float(row[2]) for row in rows]
    assert 99 <= sum(shares) <= 100 + 0.05 * len(rows)  # of rounding
    assert shares == sorted(shares, reverse=True)
    assert {"matrix product", "elementwise", "reduction"} <= {row[0] for row in rows}
    products = next(row for row in rows if row[0] == "matrix product")
    assert float(products[4]) == 5  # two forward, two for the kernels' gradients, one for the hidden layer's


def test_most_expensive_operations_name_their_source_line(profiled):
    ten = profiled.text.split("source\n")[1].split("\n\n")[0].splitlines()
    assert len(ten) == 10
    assert any("matrix product" in line and re.search(r"models/mlp\.py:\d+ (for|back)ward$", line) for line in ten)


def test_screen_shows_the_first_lines_and_the_file_says_how_to_open_the_trace(profiled):
    shown = "\n".join(profiled.text.splitlines()[:3])
    assert f"{shown}\n            more in a run/report/profile.txt\n" in profiled.out
    assert "tensorboard --logdir 'a run/tensorboard'" in profiled.text
    assert re.search(
        r"ui\.perfetto\.dev: open a run/tensorboard/plugins/profile/.*\.trace\.json\.gz\n", profiled.text
    )


def test_run_of_one_step_says_that_nothing_was_recorded(dltrain, tmp_path, monkeypatch):
    monkeypatch.setattr(finish, "draw", lambda *args: None)
    result = dltrain("data=iris", "model=linear", "steps=1", "profile=true", "output_dir=run", cwd=tmp_path)
    assert result.code == 0, result.err
    assert "profile     nothing was recorded: the run has a single step, and the first one compiles\n" in result.out
    assert not (tmp_path / "run" / "report" / "profile.txt").exists()
