"""Configs that name code, YAML that explodes, secrets: nothing is called, nothing grows, nothing leaks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("quickly_compiled")

TARGETS = (
    "os.system",
    "builtins.exec",
    "subprocess.Popen",
    "pickle.loads",
    "payload.go",
    "payload",
    "dltrain.cli.main.main",
    "dltrain.cli.main.os.system",
    "dltrain.build.instantiate.importlib.import_module",
    "dltrain.runs.checkpoint.shutil.rmtree",
    "dltrain.engine.events.time.sleep",
    "dltrain.models.mlp.jax.numpy.load",
    "dltrain.data.sources.embedded.np.load",
    "dltrain.data.sources.idx.gzip.open",
    "flax.nnx.Module.mro",
    "flax.nnx.graph.os.system",
    "flax.nnx.bridge.module.sys.exit",
    "optax.losses.np.load",
    "optax.contrib.jax.numpy.load",
    "jax.nn.initializers.np.load",
    "jax.nn.relu.__wrapped__.__globals__",
    "optax.adam.__globals__",
    "dltrain.models.mlp.MLP.__init__.__globals__",
    "${name}",
    "${oc.env:EVIL}",
    "${oc.decode:payload.go}",
)
GO = "{_target_: payload.go}"
WORDS = [
    *[("name=payload.go", f"model._target_='{target}'") for target in TARGETS],
    (f"model.activation={GO}",),
    (f"model.widths=[{GO}]",),
    (f"model.kernel_init={GO}",),
    (f"model.kernel_init={{_target_: jax.nn.initializers.constant, value: {GO}}}",),
    (f"loss.x={GO}",),
    ("optim._target_=payload.go",),
    (f"optim.learning_rate={GO}",),
    (f"optim.rules=[{{match: {GO}, freeze: true}}]",),
    (f"optim.clip={GO}",),
    ("schedule._target_=payload.go",),
    (f"metrics.x={GO}",),
    (f"callbacks.x={GO}",),
    (f"augment.x={GO}",),
    (f"runtime.mesh={GO}",),
    (f"tags=[{GO}]",),
    (f"trust={GO}",),
    (f"model={GO}",),
    (f"model=${{oc.create:{GO}}}",),
    ("model._partial_=true", "model._target_=payload.go"),
    ("data._target_=payload.go", "data._args_=[1]"),
    ("hydra.callbacks.x._target_=payload.go",),
    ("+hydra.callbacks.x._target_=payload.go",),
    ("hydra/callbacks=x",),
    ("hydra.job_logging.formatters.x={'()': payload.go}",),
    ("hydra.searchpath=[file:///tmp]",),
    ("-m", "seed=0,1", "hydra.callbacks.x._target_=payload.go"),
    ("-m", "seed=0,1", "hydra.launcher._target_=payload.go"),
    ("-m", "seed=0,1", f"hydra.launcher.x={GO}"),
    ("-m", "seed=0,1", "hydra/launcher=payload"),
    ("-m", "seed=0,1", "hydra.sweeper._target_=payload.go"),
    ("-m", "seed=0,1", "hydra.sweeper.params={hydra.job_logging.formatters.x: \"{'()': payload.go}\"}"),
    ("-m", "model._target_=payload.go,payload.two"),
    ("--experimental-rerun", "x.pickle"),
    ("--config-name", "payload"),
    ("--config-path", "/tmp"),
]
AIM = "_target_: payload.go\n"
SWEEP = ("-m", "seed=0,1", "callbacks=[none,a]")
FILES = [
    ({"model/a.yaml": AIM}, ("model=a",)),
    ({"model/a.yaml": "_target_: dltrain.models.mlp.MLP\nwidths: [{_target_: payload.go}]\n"}, ("model=a",)),
    ({"callbacks/a.yaml": "x: {_target_: payload.go}\n"}, ("callbacks=a",)),
    ({"experiment/a.yaml": f"# @package _global_\ntrust: [payload]\nmodel: {GO}\n"}, ("experiment=a",)),
    ({"experiment/a.yaml": f"# @package _global_\nhydra: {{callbacks: {{x: {GO}}}}}\n"}, ("experiment=a",)),
    ({"callbacks/a.yaml": f"# @package hydra.callbacks.x\n{AIM}"}, SWEEP),
    ({"callbacks/a.yaml": f"  # @package hydra.callbacks.x\n{AIM}"}, SWEEP),
    ({"callbacks/a.yaml": f"\u0085# @package hydra.callbacks.x\n{AIM}"}, SWEEP),
    ({"callbacks/a.yaml": "defaults: ['b@_global_.hydra.callbacks.x']\n", "callbacks/b.yaml": AIM}, SWEEP),
    ({"callbacks/a.yaml": "defaults: [/_b/c]\n", "_b/c.yaml": f"hydra: {{callbacks: {{x: {GO}}}}}\n"}, SWEEP),
    (
        {
            "callbacks/a.yaml": "# @package _global_\ndefaults: [{override /hydra/callbacks: b}]\n",
            "hydra/callbacks/b.yaml": f"x: {GO}\n",
        },
        SWEEP,
    ),
    ({"hydra/job_logging/none.yaml": "formatters: {x: {(): payload.go}}\n"}, ("-m", "seed=0,1")),
    ({"train.yaml": AIM}, ()),
]


@pytest.fixture(autouse=True)
def sentinel(tmp_path, monkeypatch):
    """A file that exists as soon as the module `payload` is imported or anything in it is called."""
    mark, home = tmp_path / "sentinel", tmp_path / "importable"
    home.mkdir()
    touch = f"open({str(mark)!r}, 'w').close()"
    (home / "payload.py").write_text(f"{touch}\ndef go(*a, **k): {touch}\ntwo = go\n")
    monkeypatch.syspath_prepend(home)
    monkeypatch.setenv("EVIL", "payload.go")
    yield
    assert not mark.exists()
    assert "payload" not in sys.modules


def refused(result) -> None:
    assert result.code == 2, result
    assert (
        result.err.startswith("dltrain: ") and "internal error" not in result.err and "Traceback" not in result.err
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize("line", WORDS, ids=" ".join)
def test_a_line_that_names_code_is_refused(dltrain, line, tmp_path, count):
    count.tried += 1
    refused(dltrain("data=iris", *line, "steps=1", "output_dir=run", cwd=tmp_path))
    assert not (tmp_path / "run").exists()
    count.survived += 1


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("files", "line"), FILES, ids=range(len(FILES)))
def test_a_file_that_names_code_is_refused(dltrain, files, line, tmp_path, count):
    count.tried += 1
    write(tmp_path / "conf", files)
    refused(dltrain(*line, "--config-dir", "conf", "data=iris", "steps=1", "output_dir=run", cwd=tmp_path))
    count.survived += 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("files", "line"), FILES[5:11], ids=range(6))
def test_hydra_calls_nothing_even_if_a_file_was_not_checked(dltrain, files, line, tmp_path, monkeypatch, count):
    """The check of the composed config alone refuses what the check of the files would have refused."""
    count.tried += 1
    monkeypatch.setattr("dltrain.config.folders._check_folder", lambda folder: None)
    write(tmp_path / "conf", files)
    refused(dltrain(*line, "--config-dir", "conf", "data=iris", "steps=1", "output_dir=run", cwd=tmp_path))
    count.survived += 1


@pytest.fixture(scope="module")
def run(dltrain, words, tmp_path_factory):
    """A small run; copy it before it is tampered with."""
    cwd = tmp_path_factory.mktemp("payloads")
    result = dltrain(*words, "steps=2", "output_dir=run", "quiet=true", cwd=cwd, figures=False)
    assert result.code == 0, result.err
    return cwd / "run"


TAMPERED = {
    "a target": ("_target_: dltrain.models.mlp.MLP", "_target_: payload.go"),
    "a nested target": ("activation: relu", "activation: {_target_: payload.go}"),
    "a callback": ("callbacks: {}", "callbacks: {x: {_target_: payload.go, every: 1}}"),
    "trust": ("trust: []\n", "trust: [payload]\nlossy: {_target_: payload.go}\n"),
    "trust and a target": ("trust: []\n", "trust: [payload]\naugment: {x: {_target_: payload.go}}\n"),
    "hydra": ("trust: []\n", "hydra: {callbacks: {x: {_target_: payload.go}}}\n"),
    "a tag of YAML": ("trust: []\n", "trust: !!python/object/apply:payload.go []\n"),
    "by interpolation": ("_target_: dltrain.models.mlp.MLP", "_target_: ${tags.0}\n  x: '${oc.decode:payload.go}'"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", TAMPERED)
def test_a_run_folder_that_names_code_is_refused(dltrain, run, what, tmp_path, words, count):
    count.tried += 1
    folder = shutil.copytree(run, tmp_path / "run")
    text = (folder / "config.yaml").read_text()
    before, after = TAMPERED[what]
    assert before in text
    text = text.replace("augment:\n  off_for: null\n", "") if "augment" in after else text
    (folder / "config.yaml").write_text(text.replace(before, after).replace("tags: []", "tags: [payload.go]"))
    for line in (("resume", "run", "steps=3"), ("evaluate", "run")):
        refused(dltrain(*line, cwd=tmp_path))
    if what == "a target":  # of which weights are taken, but no config is read
        result = dltrain("init_from=run", *words, "steps=1", "output_dir=new", cwd=tmp_path, figures=False)
        assert result.code == 0, result.err
    count.survived += 1


def grow(n: int) -> str:
    """A list in which each value expands to ten times the length of the one before."""
    return "[xxxxxxxxxx, " + ", ".join("'" + f"${{tags.{i}}}" * 10 + "'" for i in range(n)) + "]"


BOMBS = {
    "aliases": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    "merge keys": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12)),
    "depth": "tags: " + "[" * 100_000 + "]" * 100_000 + "\n",
    "breadth": "tags: [" + "x, " * 200_000 + "x]\n",
    "size": "name: " + "x" * 5_000_000 + "\n",
    "references": f"tags: {grow(10)}\n",
    "references of nodes": "tags: [[x, x, x], "
    + ", ".join(f"[{', '.join([f'${{tags.{i}}}'] * 9)}]" for i in range(15))
    + "]\n",
    "many references": "tags: [x, " + ", ".join(["'${tags.0}'"] * 15_000) + "]\n",
    "a circle": "tags: ['${tags.1}${tags.1}', '${tags.0}${tags.0}']\n",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_grows(dltrain, run, bomb, tmp_path, count):
    """In an experiment and in a run folder; one that grows takes longer than the test may."""
    count.tried += 1
    write(tmp_path / "conf", {"experiment/a.yaml": "# @package _global_\n" + BOMBS[bomb]})
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "config.yaml").write_text(
        (folder / "config.yaml").read_text().replace("tags: []\n", "") + BOMBS[bomb]
    )
    for line in (
        ("--config-dir", "conf", "experiment=a", "data=iris", "dry_run=true"),
        ("resume", "run", "steps=3"),
    ):
        refused(dltrain(*line, cwd=tmp_path))
    count.survived += 1


SECRET = "hunter2-correct-horse"


@pytest.mark.timeout(120)
@pytest.mark.slow
def test_a_secret_of_the_environment_is_never_saved(dltrain, words, tmp_path, monkeypatch):
    """In no file of a run that succeeds or fails, and in no message, however the mistake is found."""
    monkeypatch.setenv("TOKEN_OF_MINE", SECRET)
    token = "${oc.env:TOKEN_OF_MINE}"
    write(tmp_path / "conf", {"data/a.yaml": f"defaults: [iris]\ntask: '{token}'\n"})
    small = (*words, "steps=2", "quiet=true")
    good = dltrain(*small, f"tags=['{token}','x-{token}-y']", "output_dir=good", cwd=tmp_path)
    bad = dltrain(
        *small,
        f"tags=['{token}']",
        "optim=sgd",
        "optim.learning_rate=3e38",
        "steps=9",
        "output_dir=bad",
        cwd=tmp_path,
    )
    words_of_sweep = (*small, f"tags=['{token}']", "seed=0", "output_dir=swept")
    swept = dltrain("-m", *words_of_sweep, cwd=tmp_path, figures=False)
    assert (good.code, bad.code, swept.code) == (0, 5, 0), (good.err, bad.err, swept.err)
    assert token in (tmp_path / "good/config.yaml").read_text()
    found = [good, bad, swept]
    for word in (
        f"init_from={token}",
        f"monitor={token}",
        f"task={token}",
        f"data.name={token}",
        f"data.scale={token}",
        f"model._target_={token}",
        f"model.activation={token}",
        f"model.widths=[{token}]",
        f"optim.clip={{{token}: 1}}",
        f"epochs={token}",
        f"loss={token}",
        f"nothing={token}",
        f"output_dir={token}/${{nothing}}",
    ):
        found.append(dltrain(*words, "output_dir=none", word, cwd=tmp_path))
        assert found[-1].code in (2, 3), (word, found[-1])
    found.append(dltrain("data=mnist", f"data.root={token}", "output_dir=none", cwd=tmp_path))
    found.append(dltrain("--config-dir", "conf", "data=a", "loss=auto", cwd=tmp_path))
    text = (tmp_path / "good/config.yaml").read_text()
    (tmp_path / "good/config.yaml").write_text(text.replace("name: iris", f"name: {token}"))
    found.append(dltrain("resume", "good", "steps=3", cwd=tmp_path))
    assert {result.code for result in found[-3:]} <= {2, 3}
    assert (tmp_path / "good/train.log").read_text()
    for result in found:
        assert SECRET not in result.err + result.out
    for file in (p for p in tmp_path.rglob("*") if p.is_file()):
        assert SECRET.encode() not in file.read_bytes(), file


LISTEN = """
import pickle, sys

heard = []


class Unpickler(pickle.Unpickler):
    def __init__(self, *args, **kwargs):
        heard.append("Unpickler")
        super().__init__(*args, **kwargs)


def listening(name, function):
    def call(*args, **kwargs):
        heard.append(name)
        return function(*args, **kwargs)

    return call


# The audit event is raised for classes only; lists and numbers are unpickled without one.
sys.addaudithook(lambda event, args: heard.append((event, args)) if event == "pickle.find_class" else None)
load, loads, pickle.Unpickler = pickle.load, pickle.loads, Unpickler
pickle.load, pickle.loads = listening("load", load), listening("loads", loads)
import io, pathlib

pickle.loads(pickle.dumps([1]))
pickle.load(io.BytesIO(pickle.dumps([1])))
pickle.Unpickler(io.BytesIO(pickle.dumps(pathlib.Path()))).load()
assert [h[0] if isinstance(h, tuple) else h for h in heard] == ["loads", "load", "Unpickler", "pickle.find_class"]
heard.clear()
from dltrain.cli.main import main

for line in %r:
    code = main(line)
    assert code == 0, (line, code)
assert heard == [], heard
"""
DRAWS = ("data=iris", "model=rbm", "model.widths=[2]", "model.sweeps=2", "steps=1", "output_dir=drawn")
SEQUENCES = ("data=sequences", "data.path=rows.npz", "model=rnn", "model.hidden=2", "dry_run=true")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "further", [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=pytest.mark.faults)]
)
def test_nothing_is_unpickled_by_any_command(words, tmp_path, further):
    np.savez(tmp_path / "rows.npz", inputs=np.zeros((20, 3, 2)), targets=np.arange(20) % 2)
    lines = [
        [*words, "steps=2", "output_dir=run", "quiet=true"],
        ["resume", "run", "steps=3"],
        ["evaluate", "run"],
        ["hash", "run"],
        ["verify", "run"],
        [*words, "steps=1", "output_dir=next", "init_from=run", "quiet=true"],
    ]
    more = [
        ["-m", *words, "steps=1", "seed=0", "output_dir=swept", "quiet=true"],
        [*DRAWS, "quiet=true"],
        ["generate", "drawn", "count=2"],
        [*SEQUENCES],
    ]
    command = [sys.executable, "-c", LISTEN % (more if further else lines)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, env=os.environ)
    assert done.returncode == 0, done.stderr
