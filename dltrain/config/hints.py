"""Suggestions (did you mean ...?) for mistyped words."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

OTHER_NAMES = {
    "lr": "optim.learning_rate",
    "learningrate": "optim.learning_rate",
    "wd": "optim.weight_decay",
    "weight_decay": "optim.weight_decay",
    "optimizer": "optim",
    "optimiser": "optim",
    "opt": "optim",
    "lr_scheduler": "schedule",
    "lr_schedule": "schedule",
    "scheduler": "schedule",
    "warmup": "schedule.warmup_steps",
    "bs": "batch_size",
    "batch": "batch_size",
    "batchsize": "batch_size",
    "val_batch_size": "eval_batch_size",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "n_epochs": "epochs",
    "epoch": "epochs",
    "num_steps": "steps",
    "max_steps": "steps",
    "iterations": "steps",
    "dataset": "data",
    "datasets": "data",
    "data_dir": "data.root",
    "net": "model",
    "network": "model",
    "arch": "model",
    "architecture": "model",
    "criterion": "loss",
    "loss_fn": "loss",
    "objective": "loss",
    "metric": "metrics",
    "augmentation": "augment",
    "augmentations": "augment",
    "transforms": "augment",
    "callback": "callbacks",
    "device": "runtime",
    "accelerator": "runtime",
    "platform": "runtime",
    "gpu": "runtime",
    "gpus": "runtime",
    "cpu": "runtime",
    "tpu": "runtime",
    "num_workers": "runtime.threads",
    "workers": "runtime.threads",
    "config": "experiment",
    "recipe": "experiment",
    "random_seed": "seed",
    "manual_seed": "seed",
    "outdir": "output_dir",
    "out": "output_dir",
    "save_dir": "output_dir",
    "log_interval": "log_every",
    "eval_interval": "eval_every",
    "val_check_interval": "eval_every",
    "save_every": "checkpoint_every",
    "patience": "early_stopping.patience",
    "grad_clip": "optim.clip",
    "clip_grad_norm": "optim.clip",
    "gradient_clip_val": "optim.clip",
    "pretrained": "init_from",
    "resume": "init_from",
    "fast_dev_run": "dry_run",
    "debug": "dry_run",
    "exp_name": "name",
    "run_name": "name",
    "val_split": "data.validation",
}
"""Name in other tools -> our key or group."""


REFUSED = {
    ("loss", "zero_one"): "the gradient of a count of errors is zero almost everywhere, so nothing would be "
    "learned; train with loss=cross_entropy or loss=hinge and measure it with metrics=[auto,zero_one]",
}
"""(group, choice) -> why this choice does not exist, where users might look for it."""


def nearest(word: str, words: Iterable[str], *, prefix: str = "") -> str:
    """Return `; did you mean prefix.x?` for the words closest to `word`, or nothing if none is close."""
    dotted = [f"{prefix}.{c}" if prefix else c for c in close(word, words)]
    return f"; did you mean {' or '.join(dotted)}?" if dotted else ""


def close(word: str, words: Iterable[str], *, cutoff: float = 0.55) -> list[str]:
    """Return at most two of `words` that look like `word`, ignoring capitals and dashes, the closest first."""
    plain = {_plain(w): w for w in reversed(list(words))}
    if _plain(word) in plain:
        return [plain[_plain(word)]]
    return [plain[f] for f in difflib.get_close_matches(_plain(word), plain, n=2, cutoff=cutoff)]


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def unknown(key: str, known: Mapping[str, Any]) -> str:
    """Return the message for an unknown key, with the likeliest known keys and their current values."""
    meant = nearest_keys(key, known)
    if meant:
        return f"{key}: unknown; did you mean {' or '.join(f'{m} (now {show(known[m])})' for m in meant)}?"
    parent = key.rpartition(".")[0]
    inside = [k for k in known if parent and k.startswith(parent + ".") and "." not in k[len(parent) + 1 :]]
    return (
        f"{key}: unknown; {parent} has {', '.join(inside)}"
        if inside
        else f"{key}: unknown; see dltrain train --help"
    )


def nearest_keys(key: str, known: Mapping[str, Any]) -> list[str]:
    """Return the known keys that a wrong key most likely means."""
    parent, _, last = key.rpartition(".")
    word = _plain(last)
    for name in (key.lower(), word):
        if OTHER_NAMES.get(name) in known and OTHER_NAMES.get(name) != key:
            return [OTHER_NAMES[name]]
    same = [k for k in known if k.rpartition(".")[2] == word and k != key]
    if same:
        return sorted(same, key=lambda k: -difflib.SequenceMatcher(None, k, key).ratio())[:2]
    siblings = {k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == parent}
    if found := close(last, siblings):
        return [siblings[f] for f in found]
    whole = {
        k for k in known if not (key.startswith(k + ".") and any(other.startswith(k + ".") for other in known))
    }
    if found := close(key, whole, cutoff=0.7):
        return found
    lasts = {k.rpartition(".")[2]: k for k in known}
    return [lasts[f] for f in close(last, lasts, cutoff=0.7)]


def show(value: Any) -> str:
    """Format a value as it would be typed, truncated if it is long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        text = f"[{', '.join(show(v) for v in value)}]"
    elif isinstance(value, Mapping):
        text = f"{{{', '.join(f'{k}: {show(v)}' for k, v in value.items())}}}"
    else:
        text = getattr(value, "__name__", str(value))
    return text if len(text) <= 60 else text[:57] + "..."
