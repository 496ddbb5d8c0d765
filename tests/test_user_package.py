"""A user adds parts of every kind in a package and a folder of YAML, without editing dltrain."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dltrain.api import open_run
from dltrain.errors import ConfigError
from dltrain.report import finish

pytestmark = pytest.mark.usefixtures("quickly_compiled")

DRAW = finish.draw

PARTS = '''
    """Parts of the user's own."""

    import json
    import os
    from pathlib import Path

    import jax.numpy as jnp
    import numpy as np
    from flax import nnx

    from dltrain.engine.events import StopTraining
    from dltrain.data.sources.rows import make_rows
    from dltrain.errors import DataError
    from dltrain.tasks import Task
    from dltrain.types import Activation, Feature, Kind, Spec

    Path(os.environ["SENTINEL"]).touch()


    class Rings:
        """Two rings of points, told apart by their radius."""

        def __init__(self, rows: int = 200, *, noise: float = 0.1) -> None:
            rng = np.random.default_rng(0)
            self.labels = (np.arange(rows) % 2).astype(np.int32)
            angle, radius = rng.uniform(0, 2 * np.pi, rows), 1 + self.labels + rng.normal(0, noise, rows)
            self.points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32)
            self.spec = Spec(
                {"point": Feature(Kind.NUMBERS, (2,), "float32", names=("x", "y"))},
                {"ring": Feature(Kind.CATEGORY, (), "int32", vocabulary=("inner", "outer"))},
            )
            self.fingerprint = f"rings {rows} {noise}"
            self.published = {"test": np.arange(0, 40)}

        def __len__(self):
            return len(self.labels)

        def read(self, indices):
            return {"inputs": self.points[indices], "targets": self.labels[indices]}


    class Clip:
        """A preprocessing step: values beyond the bounds of the training examples are brought back to them."""

        def __init__(self, share: float = 1.0, *, low: float = 0.0, high: float = 0.0) -> None:
            self.share, self.low, self.high = share, low, high

        def fit(self, blocks):
            bounds = [(block.min(), block.max()) for block in blocks]
            low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
            return Clip(self.share, low=float(low * self.share), high=float(high * self.share))

        def forward(self, x):
            return jnp.clip(x, self.low, self.high)

        def inverse(self, x):
            return x

        def to_json(self):
            return {"share": self.share, "low": self.low, "high": self.high}

        @classmethod
        def from_json(cls, saved):
            return cls(**saved)


    class Net(nnx.Module):
        def __init__(self, units: int = 8, *, spec: Spec, rngs: nnx.Rngs, activation: Activation = jnp.tanh):
            self.first = nnx.Linear(spec.input.size, units, rngs=rngs)
            self.last = nnx.Linear(units, spec.outputs, rngs=rngs)
            self.activation = activation

        def __call__(self, inputs, *, mask, rngs):
            return self.last(self.activation(self.first(inputs)))


    def brier(outputs, batch, *, scale: float = 1.0):
        """Squared distance of the probabilities from the truth."""
        truth = nnx.one_hot(batch["targets"], outputs.shape[-1]) if hasattr(nnx, "one_hot") else None
        truth = jnp.eye(outputs.shape[-1])[batch["targets"]] if truth is None else truth
        return scale * jnp.square(nnx.softmax(outputs) - truth).sum(-1)


    def confidence(outputs, batch):
        return nnx.softmax(outputs).max(-1)


    class Least:
        """The smallest confidence of any row: its state does not start at zero."""

        def zero(self):
            return jnp.float32(jnp.inf)

        def add(self, state, outputs, batch):
            found = jnp.where(batch["mask"], nnx.softmax(outputs).max(-1), jnp.inf)
            return jnp.minimum(state, found.min())

        def value(self, state):
            return float(state)


    def sawtooth(step, total, *, teeth: int = 2):
        return 1.0 - (step * teeth % total) / total


    class Diary:
        """Writes down when it was called, and ends training at a step."""

        def __init__(self, path: str, *, last: int = 1000) -> None:
            self.path, self.last, self.steps = Path(path), last, []

        def __call__(self, event):
            self.steps.append(event.step)
            self.path.write_text(json.dumps(self.steps))
            if event.step >= self.last:
                raise StopTraining("the diary is full")

        def state(self):
            return self.steps

        def restore(self, saved):
            self.steps = list(saved)


    def tagged(rows: int = 240, *, spoilt: int | None = None):
        """Points of a plane, each with three tags that may hold together: right, above, far."""
        x = np.random.default_rng(0).uniform(-2, 2, (rows, 3)).astype(np.float32)
        y = (x > 0).astype(np.float32)
        if spoilt is not None:
            y[spoilt, 1] = 2
        names = ("right", "above", "near")
        return make_rows({"inputs": x, "targets": y}, kind="numbers", target_names=names)


    class Tags(Task):
        """Several labels that may hold together: targets float [B, T] of 0 and 1, outputs logits [B, T]."""

        target_kind = Kind.NUMBERS
        decision = "tags"

        def outputs(self, spec):
            return spec.target.size

        def check_targets(self, targets, spec):
            bad = np.flatnonzero(((targets != 0) & (targets != 1)).any(1))
            if len(bad):
                raise DataError(f"targets of row {bad[0]}: {targets[bad[0]].tolist()}, expected 0 and 1")

        def decide(self, outputs, spec):
            return {"tags": (outputs > 0).astype("int32"), "probabilities": nnx.sigmoid(outputs)}

        def figures(self, spec):
            return {"tags": drawn_tags}


    def drawn_tags(inputs, targets, decisions, spec):
        from matplotlib.figure import Figure

        assert inputs.shape == targets.shape == decisions["tags"].shape
        figure = Figure()
        figure.subplots().imshow(np.asarray(decisions["probabilities"]))
        return figure


    def all_right(outputs, batch):
        return ((outputs > 0) == (batch["targets"] > 0.5)).all(-1).astype(jnp.float32)
'''

YAML = {
    "data/rings.yaml": "# Two rings\n_target_: ringlib.parts.Rings\nrows: 160\ntask: classification\n",
    "model/ringnet.yaml": "# One hidden layer\n_target_: ringlib.parts.Net\nunits: 6\nactivation: relu\n",
    "loss/brier.yaml": "# Brier score\n_target_: ringlib.parts.brier\nscale: 1.0\n",
    "metrics/confidence.yaml": "# How sure\nconfidence: {_target_: ringlib.parts.confidence, better: higher}\n",
    "metrics/least.yaml": "# How sure at least\nleast: {_target_: ringlib.parts.Least, better: higher}\n",
    "schedule/sawtooth.yaml": "# Teeth\n_target_: ringlib.parts.sawtooth\nteeth: 2\n",
    "callbacks/diary.yaml": "# A diary\ndiary: {_target_: ringlib.parts.Diary, path: diary.json, every: 2}\n",
    "data/tagged.yaml": "# Tagged points\n_target_: ringlib.parts.tagged\nspoilt: null\ntask: tags\n",
    "task/tags.yaml": (
        "# Several labels that may hold together\n_target_: ringlib.parts.Tags\nloss: binary_cross_entropy\n"
        "metrics: tags\nmonitor: [all_right]\n"
    ),
    "metrics/tags.yaml": "# All labels right\nall_right: {_target_: ringlib.parts.all_right, better: higher}\n",
    "experiment/rings.yaml": (
        "# @package _global_\n# Everything of ours\ndefaults:\n  - override /data: rings\n"
        "  - override /model: ringnet\n"
        "  - override /loss: brier\n  - override /metrics: [accuracy, confidence, least]\n"
        "  - override /schedule: sawtooth\n  - override /callbacks: [diary]\nbatch_size: 27\n"
        "data: {preprocess: [{_target_: ringlib.parts.Clip, share: 0.9}]}\n"
        "optim: {learning_rate: 0.05}\n"
    ),
}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A user's folder: a package, and YAML next to it."""
    (tmp_path / "ringlib").mkdir()
    (tmp_path / "ringlib" / "__init__.py").write_text("")
    (tmp_path / "ringlib" / "parts.py").write_text(textwrap.dedent(PARTS).lstrip())
    for name, text in YAML.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text(text)
    monkeypatch.setenv("SENTINEL", str(tmp_path / "imported"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(finish, "draw", lambda *args, **options: None)
    yield tmp_path
    for name in [n for n in sys.modules if n.split(".")[0] == "ringlib"]:
        del sys.modules[name]


OWN = ("--config-dir", "conf", "experiment=rings")


def test_a_run_with_user_defined_parts_trains_resumes_and_is_evaluated(project, dltrain):
    result = dltrain(*OWN, "trust=[ringlib]", "epochs=3", "log_every=1", "output_dir=run")
    assert result.code == 0, result.err
    assert "data    rings: 108 train, 12 validation, 40 test; 2 float32; classification, 2 classes" in result.out
    assert "monitor validation/accuracy" in result.out
    summary = json.loads((project / "run" / "summary.json").read_text())
    assert set(summary["test"]) == {"loss", "accuracy", "confidence", "least"}
    assert 0.5 <= summary["test"]["least"] <= summary["test"]["confidence"] <= 1
    found = [json.loads(line) for line in (project / "run" / "metrics.jsonl").read_text().splitlines()]
    rates = [row["learning_rate"] for row in found if row["split"] == "train"]
    assert rates == pytest.approx([0.05 * (1 - step * 2 % 12 / 12) for step in range(12)], rel=1e-5)
    assert json.loads((project / "diary.json").read_text()) == [2, 4, 6, 8, 10, 12]
    # its memory is in the checkpoint, and what is typed changes its options
    result = dltrain("resume", "run", "epochs=5", "callbacks.diary.last=16", "trust=[ringlib]")
    assert result.code == 0, result.err
    assert "the diary is full: 16 steps" in result.out
    assert json.loads((project / "diary.json").read_text()) == [2, 4, 6, 8, 10, 12, 14, 16]
    result = dltrain("evaluate", "run", "trust=[ringlib]", "checkpoint=last")
    assert result.code == 0 and "least " in result.out
    (chain,) = json.loads((project / "run" / "model.json").read_text())["preprocess"]["inputs"].values()
    clip = chain[0]
    assert clip["_target_"] == "ringlib.parts.Clip" and clip["fitted"]["share"] == 0.9
    assert -3 < clip["fitted"]["low"] < -1 < 1 < clip["fitted"]["high"] < 3
    opened = open_run(project / "run", "trust=[ringlib]")
    far, bound = opened.outputs([[50.0, 50.0]]), [[clip["fitted"]["high"]] * 2]
    assert far.tolist() == opened.outputs(bound).tolist()
    with pytest.raises(ConfigError, match=r"allow it on the command line: trust=\[ringlib\]"):
        open_run(project / "run")


@pytest.mark.slow
def test_a_user_defined_task_is_one_class_and_one_yaml(project, dltrain, monkeypatch):
    monkeypatch.setattr(finish, "draw", DRAW)
    words = ("--config-dir", "conf", "trust=[ringlib]", "data=tagged", "model=linear")
    result = dltrain(*words, "epochs=30", "optim.learning_rate=0.1", "output_dir=run")
    assert result.code == 0, result.err
    assert "tags, 3 targets" in result.out and "monitor validation/all_right, higher is better" in result.out
    assert "loss    binary_cross_entropy (task=tags); choose with loss=..." in result.out
    summary = json.loads((project / "run" / "summary.json").read_text())
    assert set(summary["test"]) == {"loss", "all_right"} and summary["test"]["all_right"] > 0.85
    assert (project / "run" / "report" / "tags.png").stat().st_size > 1000
    result = dltrain("evaluate", "run", "trust=[ringlib]")
    assert result.code == 0 and "all_right " in result.out
    assert "Several labels that may hold together" in dltrain("list", "task", "--config-dir", "conf").out
    for typed, message in {
        "data.spoilt=7": "targets of row 7: [",
        "data=digits task=tags": "task=tags: needs numbers as targets, and this data has one class per example",
        "model=autoencoder task=tags": "task=tags: model=autoencoder is for task=reconstruction",
        "task=tag": "task=tag: no such choice; did you mean tags?",
        "data.task=null": "task=auto: data.task=null is not a task",
    }.items():
        result = dltrain(*words, *typed.split())
        assert result.code in (2, 3) and message in result.err, (typed, result.err)


def test_without_trust_nothing_is_imported_and_the_message_says_how(project, dltrain):
    result = dltrain(*OWN)
    assert result.code == 2
    assert "_target_=ringlib.parts." in result.err and "allow it on the command line: trust=[ringlib]" in result.err
    assert not (project / "imported").exists() and "ringlib" not in sys.modules
    assert dltrain(*OWN, "trust=[ring]").code == 2
    assert dltrain(*OWN, "trust=[os]").code == 2
    assert not (project / "imported").exists() and "ringlib" not in sys.modules


def test_trust_in_a_file_is_refused(project, dltrain):
    with (project / "conf" / "experiment" / "rings.yaml").open("a") as file:
        file.write("trust: [ringlib]\n")
    result = dltrain(*OWN)
    assert result.code == 2 and "trust: [ringlib]: cannot be set in YAML" in result.err
    assert not (project / "imported").exists()


def test_the_message_for_a_missing_package_says_where_it_was_looked_for(project, dltrain):
    (project / "ringlib").rename(project / "elsewhere")
    result = dltrain(*OWN, "trust=[ringlib]")
    assert result.code == 2
    assert f"No module named 'ringlib'; dltrain looks for ringlib here, in {project}" in result.err


def test_user_defined_parts_are_listed_composed_and_checked_like_built_in_ones(project, dltrain):
    assert "Brier score" in dltrain("list", "loss", "--config-dir", "conf").out
    result = dltrain(*OWN, "--cfg", "job", "trust=[ringlib]")
    assert result.code == 0 and "ringlib.parts.Net" in result.out
    for word, message in {
        "model.unit=3": "model.unit: unknown; did you mean model.units (now 6)?",
        "model.units=some": "model.units=some: must be a whole number",
        "loss.scale=x": "loss.scale=x: must be a number",
        "callbacks.diary.every=0": "callbacks.diary.every=0: must be a number of steps",
        "model._target_=ringlib.parts.Nett": "ringlib.parts has no Nett; did you mean Net?",
    }.items():
        result = dltrain(*OWN, "trust=[ringlib]", word)
        assert result.code == 2 and message in result.err, (word, result.err)


def test_a_fault_in_the_users_code_is_named_and_keeps_its_traceback_in_the_log(project, dltrain):
    parts = project / "ringlib" / "parts.py"
    parts.write_text(parts.read_text().replace("self.steps.append(event.step)", "self.steps.append(event.stepp)"))
    result = dltrain(*OWN, "trust=[ringlib]", "epochs=1", "output_dir=run")
    assert result.code == 2
    assert (
        "AttributeError: 'TrainEvent' object has no attribute 'stepp'" in result.err
        and "Traceback" not in result.err
    )
    assert "ringlib/parts.py" in (project / "run" / "train.log").read_text()


def test_the_command_itself_finds_a_package_where_it_is_started(project):
    command = Path(sys.executable).with_name("dltrain")
    if not command.exists():
        pytest.skip("dltrain is not installed as a command here")
    words = [command, *OWN, "trust=[ringlib]", "model.units=7", "--cfg", "job"]
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    assert "units: 7" in done.stdout and (project / "imported").exists()
