"""What `import dltrain` exposes: compose a config, train it, and open a run.

The commands `train`, `evaluate` and `generate` call the same functions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.composition.compose import amend_words, compose_words
from dltrain.composition.overrides import write
from dltrain.config.call import Composed
from dltrain.config.schema import GROUPS
from dltrain.data.tables.frames import is_frame, store_frame
from dltrain.devices import runtime
from dltrain.entry import train_config
from dltrain.errors import ConfigError
from dltrain.inference.ensemble.ensemble import Ensemble, open_saved
from dltrain.inference.export.exported import ExportedModel
from dltrain.inference.export.exported import load_exported as _load_exported
from dltrain.inference.run import Run, amend_saved
from dltrain.report.comparison import Comparison
from dltrain.report.comparison import compare as _compare
from dltrain.report.console import print_warning
from dltrain.report.html.run import write_report as _write_report
from dltrain.report.repeats.results import Repeated
from dltrain.runs.folder import RunFolder, existing
from dltrain.sweep.repeat import folds_of, seeds_of, train_repeat

Overrides = str | Mapping[str, Any]
"""`"model=cnn"` as in the shell, or a mapping from keys to values: `{"optim.learning_rate": 0.01}`.

The value of `data.path` (or `data.test_path`) may be a data frame of polars or pandas:
`{"data.path": frame, "data.target": "price"}`. dltrain keeps a copy in its cache folder."""


def compose(*overrides: Overrides, config_dir: str | None = None, **values: Any) -> dict[str, Any]:
    """Compose and check a training config, and return it as plain nested values.

    Args:
        *overrides: `"group=choice"` and `"key=value"` as in the shell, or mappings of keys to values.
        config_dir: your own folder of YAML, as for `--config-dir`.
        **values: further keys, which take precedence.

    Raises:
        ConfigError: a key or value is wrong; the message says what would be right.

    Examples:
        >>> config = compose("data=digits", "model=mlp", {"optim.learning_rate": 0.01}, epochs=2)
        >>> config["epochs"], config["optim"]["learning_rate"], config["data"]["name"]
        (2, 0.01, 'digits')
    """
    return compose_words(*words_of(overrides, values), config_dir=config_dir).config


def fit(*overrides: Overrides, config_dir: str | None = None, **values: Any) -> Run:
    """Train a model and return its run; the arguments are those of `compose`.

    Raises:
        DltrainError: the config, the data, or training itself failed; each kind is a class of `dltrain.errors`.

    Examples:
        >>> run = fit("data=iris", "model=linear", epochs=2, output_dir="run", quiet=True)  # doctest: +ELLIPSIS
        validation ...
        >>> sorted(run.summary["best"]["test"])
        ['accuracy', 'f1', 'loss']
    """
    words = words_of(overrides, values)
    composed = compose_words(*words, config_dir=config_dir)
    folder = train_config(composed, overrides=words)
    if folder is None:
        raise ConfigError("dry_run=true: nothing was trained; use compose to check a config")
    return open_run(folder.path, *(word for word in words if word.startswith("trust=")))


def crossval(*overrides: Overrides, folds: int = 5, config_dir: str | None = None, **values: Any) -> Repeated:
    """Train one run for each fold of a cross-validation, and measure them; other arguments as for `fit`.

    Args:
        *overrides: keys of training; `output_dir` is the folder of all runs.
        folds: how many, at least 2.
        config_dir: your own folder of YAML, as for `--config-dir`.
        **values: further keys.

    Raises:
        DltrainError: the config is wrong, or all runs failed.
    """
    words = words_of(overrides, values)
    composed = compose_words(*words, config_dir=config_dir)
    return train_repeat(folds_of(words, composed, folds=folds), words, config_dir=config_dir)


def seeds(*overrides: Overrides, count: int = 8, config_dir: str | None = None, **values: Any) -> Repeated:
    """Train `count` runs that differ in their seed only, and measure them; other arguments as for `crossval`.

    Raises:
        DltrainError: the config is wrong, or all runs failed.
    """
    words = words_of(overrides, values)
    composed = compose_words(*words, config_dir=config_dir)
    return train_repeat(seeds_of(composed, count=count), words, config_dir=config_dir)


def open_run(path: str | Path, *overrides: Overrides, checkpoint: str | int = "best", **values: Any) -> Run:
    """Open a run folder as a model; its training data is not read.

    Args:
        path: the run folder.
        *overrides: changes to the run's config, and `trust=[package]` for your own parts, as for `compose`.
        checkpoint: best, last, or a step.
        **values: further keys.

    Raises:
        ConfigError: this is not a run folder, or its config cannot be used.
        CheckpointError: model.json or the checkpoint is missing or damaged (when it is first needed).

    Examples:
        >>> run = open_run("run", checkpoint="last")
        >>> run.outputs([[5.1, 3.5, 1.4, 0.2]]).shape
        (1, 3)
    """
    folder = existing(str(path))
    words = words_of(overrides, values)
    composed = amend_saved(folder, lambda saved: amend_words(saved, *words), words)
    runtime.start(**composed.config["runtime"])
    return Run(folder, composed, checkpoint=checkpoint, warn=print_warning)


def open_ensemble(path: str | Path, *overrides: Overrides, **values: Any) -> Ensemble:
    """Open a folder that `dltrain ensemble` wrote; the training data of its runs is not read.

    Args:
        path: the folder.
        *overrides: changes to the config of each run, and `trust=[package]` for your own parts, as for `open_run`.
        **values: further keys.

    Raises:
        CheckpointError: a run is gone, damaged, or not the one that the ensemble was made of.
    """
    words = words_of(overrides, values)

    def amend(folder: RunFolder) -> Composed:
        return amend_saved(folder, lambda saved: amend_words(saved, *words), words)

    return open_saved(path, amend, warn=print_warning)


def load_exported(path: str | Path, *, trust: Sequence[str] = ()) -> ExportedModel:
    """Load a folder that `dltrain export` wrote; neither the run nor its data is needed.

    Args:
        path: the folder.
        trust: packages of your own whose parts its config names; only exporting it again needs them.

    Raises:
        CheckpointError: it is not an export, is damaged, or this jax no longer reads it.
    """
    return _load_exported(path, trust=tuple(trust))


def compare(*paths: str | Path, split: str = "auto") -> Comparison:
    """Compare runs: how their configs differ, their results, and whether these differ by more than their seeds do.

    Args:
        *paths: run folders, or folders of sweeps.
        split: split whose results are compared; auto: test, or validation where a run has no test split.
    """
    return _compare([str(path) for path in paths], split=split)


def write_report(path: str | Path, output: str | Path | None = None) -> Path:
    """Write a run as one HTML file that loads nothing, and its `MODEL_CARD.md`; return the path of the file.

    Args:
        path: the run folder.
        output: where to write the page; None: `report.html` of the run.
    """
    return _write_report(existing(str(path)), output)[0]


def words_of(overrides: Sequence[Overrides], values: Mapping[str, Any]) -> list[str]:
    """Return overrides as words of a command line; a data frame becomes the path of a file with its content.

    Examples:
        >>> words_of(["model=cnn", {"optim": {"learning_rate": 0.5}}], {"epochs": 2})
        ['model=cnn', 'optim.learning_rate=0.5', 'epochs=2']
    """
    words: list[str] = []
    for override in (*overrides, values):
        if isinstance(override, str):
            words.append(override)
            continue
        for key, value in override.items():
            if key in GROUPS and isinstance(value, Mapping):  # keys of a part, not another choice
                words += words_of([{f"{key}.{name}": inner for name, inner in value.items()}], {})
            else:
                words.append(f"{key}={write(str(store_frame(value)) if is_frame(value) else value)}")
    return words
