"""The keys that dltrain itself reads: what each may hold, its unit, one line about it. Defaults stand in YAML."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dltrain.config.hints import show
from dltrain.config.kinds import (
    CLIP,
    DURATION,
    FLAG,
    INTERVAL,
    MESH,
    NAME,
    PACKAGE,
    PARAMETER_GROUPS,
    RULE,
    STEP,
    TEXT,
    TIME,
    Kind,
    either,
    listing,
    number,
    one_of,
    optional,
    whole,
)

GROUPS = {
    "data": "what to learn from",
    "model": "the network",
    "loss": "what is made small",
    "metrics": "what is measured (one, or several: metrics=[accuracy,f1])",
    "optim": "how the weights move",
    "schedule": "how the learning rate moves",
    "augment": "how training examples are varied (one, or several)",
    "runtime": "where it runs",
    "callbacks": "what else happens on the way (one, or several)",
    "experiment": "a whole recipe: sets several of the above",
}
MULTIPLE = ("metrics", "augment", "callbacks")  # groups of which several may be chosen, each a node with a name


@dataclass(frozen=True)
class Key:
    """One key: its kind, one line about it, its unit, and whether the node's target gets it as an argument too."""

    kind: Kind
    line: str
    unit: str = ""
    argument: bool = False


ENGINE = {
    "seed": Key(whole(0, 2**32 - 1), "decides everything random but the split (data.split_seed)"),
    "epochs": Key(
        optional(whole(1)), "how long to train; steps or examples take its place", "passes over the data"
    ),
    "steps": Key(optional(whole(1)), "how long to train, counted in updates", "updates"),
    "examples": Key(optional(whole(1)), "how long to train, counted in examples", "examples"),
    "batch_size": Key(
        either("all", whole(1)), "examples in one update; all: every training row at once", "examples"
    ),
    "eval_batch_size": Key(optional(whole(1)), "examples at once when evaluating; null: chosen", "examples"),
    "log_every": Key(whole(1), "how often a step is logged", "steps"),
    "eval_every": Key(DURATION, "how often validation is measured", "steps, or 1ep, 5min"),
    "checkpoint_every": Key(
        either("auto", DURATION),
        "when state is saved; auto: each epoch, in at most 5 % of the time",
        "steps, or 1ep, 5min",
    ),
    "keep_every": Key(
        optional(INTERVAL), "checkpoints of these steps stay, beside the last and the best", "steps, or 1ep"
    ),
    "monitor": Key(optional(TEXT), "says which checkpoint is best: auto, or such as validation/loss"),
    "early_stopping.patience": Key(optional(whole(1)), "stop after so many without a better one", "evaluations"),
    "early_stopping.min_delta": Key(number(low=0), "what counts as better", "the metric's"),
    "stop.loss": Key(optional(number()), "stop when an evaluation's loss is below", "the loss's"),
    "stop.gradient_norm": Key(
        optional(number(above=0)), "stop when the gradient's norm is below; looked at each eval_every"
    ),
    "stop.change": Key(
        optional(number(above=0)),
        "stop when an update changes the weights by less (norm); looked at each eval_every",
    ),
    "stop.time": Key(
        optional(TIME), "stop after this time of training, all segments of the run together", "2h, 5min, 30s"
    ),
    "output_dir": Key(optional(TEXT), "the run folder, exactly; null: outputs/<date>/<time>-<name>", "path"),
    "overwrite": Key(FLAG, "train into a folder that holds a run already"),
    "name": Key(optional(NAME), "ends the run folder's name; null: data-model"),
    "tags": Key(listing(TEXT), "words kept with the run"),
    "trust": Key(listing(PACKAGE), "packages of yours that YAML may name; counts on the command line only"),
    "quiet": Key(FLAG, "print the result only"),
    "profile": Key(FLAG, "write a trace of some steps for the profiler"),
    "dry_run": Key(FLAG, "compose, check shapes, compile, print memory, leave"),
    "limit_batches": Key(optional(whole(1)), "shorten every epoch and split to so many batches", "batches"),
    "overfit_batches": Key(whole(0), "train on so many batches again and again; 0: off", "batches"),
    "init_from": Key(
        optional(TEXT), "start from the weights of that run, where names and shapes match", "run folder"
    ),
    "sweep.objectives": Key(
        listing(TEXT),
        "What a job returns to its sweeper, such as [validation/loss, parameters]; []: the monitored metric",
    ),
    "on_nonfinite": Key(
        one_of("stop", "skip", "rollback"),
        "what a NaN or infinite loss does; skip: at most 10 in a row; rollback: to the last checkpoint, thrice",
    ),
}
"""The engine's own keys at the top of a config; a dot leads into a node."""

NODES = {
    "data": {
        "validation": Key(number(low=0, below=1), "slice of the training rows kept for validation", "fraction"),
        "test": Key(number(low=0, below=1), "slice kept for testing where nothing is published", "fraction"),
        "split_seed": Key(whole(0, 2**32 - 1), "decides which rows are train, validation and test"),
        "folds": Key(optional(whole(2)), "cross-validation: cut the training rows into so many", "parts"),
        "fold": Key(whole(0), "which of them is validation in place of data.validation, counted from 0"),
        "shuffle": Key(
            FLAG,
            "Draw a new order of the training examples in each epoch; model.stateful=true has an order of its own",
        ),
        "scale": Key(
            one_of("auto", "standard", "unit", "symmetric", "none"),
            "mean 0 and deviation 1, [0, 1], [-1, 1], fitted on training rows; auto: what the model needs",
        ),
        "preprocess": Key(
            listing(STEP),
            "fitted steps of the inputs before data.scale: [{_target_: dotted name of a class, its options}, ...]",
        ),
        "feed": Key(
            one_of("auto", "resident", "streamed"), "on the device, or read ahead by threads; auto: by its size"
        ),
        "threads": Key(whole(1, 64), "that read a streamed data set ahead", "threads"),
        "timeout": Key(number(above=0), "how long to wait for a batch of a streamed data set", "seconds"),
        "task": Key(
            optional(one_of("classification", "binary", "regression", "language", "generation", "segmentation")),
            "what the targets are",
        ),
    },
    "model": {
        "task": Key(
            optional(one_of("reconstruction", "energy", "adversarial")),
            "what a model that needs no targets is trained for; null: for the data's targets",
        ),
        "scale": Key(optional(one_of("unit", "symmetric")), "what data.scale must be; null: any"),
        "output_activation": Key(
            optional(one_of("sigmoid", "softmax", "tanh", "relu", "softplus")),
            "between the last layer and the loss; losses that take logits need none",
        ),
    },
    "loss": {
        "reduction": Key(one_of("mean", "sum"), "how the examples of a batch are put together"),
        "l1": Key(number(low=0), "weight of the sum of absolute weights"),
        "l2": Key(number(low=0), "weight of half the sum of squared weights"),
    },
    "metrics.*": {
        "better": Key(optional(one_of("higher", "lower")), "which way is better; null: not to be monitored")
    },
    "augment": {
        "off_for": Key(optional(INTERVAL), "so long at the end training sees the data as it is", "steps, or 1ep"),
    },
    "callbacks.*": {
        "every": Key(optional(DURATION), "how often it is called; absent: eval_every", "steps, or 1ep, 5min")
    },
    "optim": {
        "learning_rate": Key(number(above=0), "size of an update; the schedule is a factor of it", argument=True),
        "weight_decay": Key(optional(number(low=0)), "pull of kernels towards 0", argument=True),
        "accumulate": Key(whole(1), "pieces that a batch is worked off in, in so much less memory", "pieces"),
        "clip": Key(
            optional(CLIP),
            "bound of the gradient: norm of all, block: norm of each parameter, value, adaptive: to the weights",
        ),
        "ema": Key(
            optional(number(above=0, below=1)),
            "decay of running means of the weights, which are what is measured then; such as 0.999",
        ),
        "groups": Key(
            optional(PARAMETER_GROUPS), "Parts of the model with an optimizer or update interval of their own"
        ),
        "rules": Key(listing(RULE), "freezes parameters by name, or gives them a rate or decay of their own"),
    },
    "schedule": {
        "stretch": Key(FLAG, "when a run is extended: plan anew instead of holding the last value"),
        "warmup_epochs": Key(optional(number(low=0)), "takes the place of warmup_steps", "epochs"),
    },
    "runtime": {
        "platform": Key(one_of("auto", "cpu", "gpu", "tpu"), "where it runs; auto: the best that is there"),
        "threads": Key(optional(whole(1)), "processor threads; null: all", "threads"),
        "deterministic": Key(FLAG, "the same bits each time, where threads or kernels would reorder sums"),
        "cache": Key(FLAG, "keep compiled programs for the next start"),
        "ops": Key(
            one_of("auto", "stock"),
            "convolutions, pooling, lstm, gru, rnn, embeddings: what is fast here, or as jax has them",
        ),
        "precision": Key(
            one_of("float32", "mixed", "bfloat16"),
            "of the arithmetic; mixed: bfloat16 with parameters in float32, bfloat16: these too",
        ),
        "matmul": Key(
            one_of("default", "high", "highest"),
            "precision of float32 products; default: TF32 on NVIDIA, bfloat16 on TPU; highest: float32 everywhere",
        ),
        "mesh": Key(either("auto", MESH), "devices: data parallel, and fsdp: parameters cut; auto: data over all"),
    },
}
"""The keys that dltrain reads inside a group's node, beside the arguments of its target.

Of a group of several nodes `GROUP.*` lists those of each node, and `GROUP` those that stand beside the nodes.
"""

COMMANDS: dict[str, dict[str, Key]] = {
    "resume": {},
    "evaluate": {
        "split": Key(one_of("train", "validation", "test", "all"), "which rows to measure"),
        "checkpoint": Key(either("best", either("last", whole(0))), "which weights: best, last, or a step"),
    },
    "generate": {
        "prompt": Key(optional(TEXT), "what a language model writes on from; null: the start of a line"),
        "tokens": Key(whole(1), "how much a language model writes", "tokens"),
        "temperature": Key(
            optional(number(low=0)),
            "0: the likeliest token each time; above: drawn, wilder the higher; null: 0.8 of a text, 0 about rows",
        ),
        "top_k": Key(optional(whole(1)), "draw among so many of the likeliest tokens; null: among all", "tokens"),
        "seed": Key(whole(0, 2**32 - 1), "the same seed draws the same"),
        "count": Key(optional(whole(1)), "texts or examples; null: 1 text, 64 pictures, 1000 rows of a table"),
        "output": Key(
            optional(TEXT), "PATH.npz for examples; null: report/generated_seed_N.npz of the run", "path"
        ),
        "split": Key(one_of("train", "validation", "test"), "whose rows to write about"),
        "rows": Key(whole(1), "how many of them", "rows"),
        "checkpoint": Key(either("best", either("last", whole(0))), "which weights: best, last, or a step"),
    },
}
"""The commands that lay typed keys over a run's config; one with options of its own has configs/<command>.yaml."""


def node_keys(group: str) -> Mapping[str, Key]:
    """Name the keys that dltrain reads in each node of a group."""
    return NODES.get(f"{group}.*" if group in MULTIPLE else group, {})


def keys_beside(group: str) -> Mapping[str, Key]:
    """Name the keys that stand beside the nodes of a group of several: they are no nodes."""
    return NODES.get(group, {}) if group in MULTIPLE else {}


def engine_keys(group: str) -> tuple[str, ...]:
    """Name the keys of a group's nodes that its target does not get."""
    return tuple(name for name, key in node_keys(group).items() if not key.argument)


def parted(group: str, node: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a group's node into what its target takes, and the keys that are the engine's own."""
    own = engine_keys(group)
    return {k: v for k, v in node.items() if k not in own}, {k: node[k] for k in own if k in node}


def parse(path: str, key: Key, value: Any, shown: Any = None) -> Any:
    """Return the value as the engine wants it; ValueError says in full what would be right.

    Args:
        path: where it stands, for the message.
        key: what it may hold.
        value: the value.
        shown: what to print in its place, where the value itself may be a secret.
    """
    try:
        return key.kind.parse(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{path}={shown or show(value)}: must be {key.kind.words}") from None
