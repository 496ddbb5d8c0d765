"""The keys that dltrain itself reads: what each may hold, its unit, one line about it. Defaults are in YAML.

The file is long because it is one table, which is read and compared as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dltrain.config.hints import show
from dltrain.config.kinds import (
    CLIP,
    DIVISION,
    DURATION,
    FLAG,
    HOSTS,
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
    "data": "The data set",
    "model": "The network",
    "task": "What the targets are for",
    "loss": "The loss that training minimizes",
    "metrics": "The metrics of each evaluation (one, or several: metrics=[accuracy,f1])",
    "optim": "The optimizer",
    "schedule": "The learning rate schedule",
    "augment": "Augmentation of training examples (one, or several)",
    "runtime": "The device and the numerics",
    "callbacks": "Callbacks during training (one, or several)",
    "sweep": "The search for good values: which trials -m trains",
    "recipe": "The settings that suit a kind of data, where you set none",
    "experiment": "A file that sets several of the above",
}
MULTIPLE = ("metrics", "augment", "callbacks")  # groups of which several may be chosen, each a node with a name
SETTINGS = ("runtime", "sweep")  # groups whose nodes name nothing to build: they hold keys of dltrain only


@dataclass(frozen=True)
class Key:
    """One key: its kind, one line about it, its unit, and whether the node's target gets it as an argument too."""

    kind: Kind
    line: str
    unit: str = ""
    argument: bool = False


ENGINE = {
    "seed": Key(
        whole(0, 2**32 - 1),
        "Seed of initial values, data order, dropout and augmentation; data.split_seed is that of the split",
    ),
    "epochs": Key(optional(whole(1)), "Length of training; steps or examples replace it", "passes over the data"),
    "min_steps": Key(optional(whole(1)), "Fewest steps where epochs sets the length; null: any number", "steps"),
    "steps": Key(optional(whole(1)), "Length of training, in steps, skipped ones included", "steps"),
    "examples": Key(optional(whole(1)), "Length of training, in examples", "examples"),
    "batch_size": Key(either("all", whole(1)), "Examples per update; all: the whole training set", "examples"),
    "eval_batch_size": Key(
        optional(whole(1)), "Examples per evaluation batch; null: chosen by the size of the data", "examples"
    ),
    "log_every": Key(whole(1), "Interval between logged training metrics", "steps"),
    "eval_every": Key(DURATION, "Interval between evaluations on the validation split", "steps, or 1ep, 5min"),
    "checkpoint_every": Key(
        either("auto", DURATION),
        "Interval between checkpoints; auto: each epoch, in at most 5 % of the time",
        "steps, or 1ep, 5min",
    ),
    "keep_every": Key(
        optional(INTERVAL),
        "Interval of checkpoints to keep besides the last and the best; null: none",
        "steps, or 1ep",
    ),
    "monitor": Key(
        optional(TEXT),
        "Metric that decides which checkpoint is best, such as validation/loss; auto: that of the task",
    ),
    "early_stopping.patience": Key(
        optional(whole(1)), "Stop after this number of evaluations without improvement; null: off", "evaluations"
    ),
    "early_stopping.min_delta": Key(number(low=0), "Smallest improvement that counts", "the metric's"),
    "stop.loss": Key(
        optional(number()), "Stop when the loss of an evaluation falls below this; null: off", "the loss's"
    ),
    "stop.gradient_norm": Key(
        optional(number(above=0)),
        "Stop when the gradient norm falls below this, checked each eval_every; null: off",
    ),
    "stop.change": Key(
        optional(number(above=0)),
        "Stop when the norm of an update falls below this, checked each eval_every; null: off",
    ),
    "stop.time": Key(
        optional(TIME), "Stop after this training time, resumed segments included; null: off", "2h, 5min, 30s"
    ),
    "output_dir": Key(optional(TEXT), "Run folder; null: outputs/<date>/<time>-<name>", "path"),
    "overwrite": Key(FLAG, "Replace the run that output_dir holds"),
    "name": Key(optional(NAME), "End of the run folder's name; null: data-model"),
    "tags": Key(listing(TEXT), "Words saved with the run"),
    "trust": Key(listing(PACKAGE), "Packages of yours that YAML may name; only read from the command line"),
    "quiet": Key(FLAG, "Print only the result"),
    "profile": Key(FLAG, "Record some steps for the profiler"),
    "dry_run": Key(FLAG, "Compose, check shapes, compile and print the memory needed, without training"),
    "limit_batches": Key(optional(whole(1)), "Batches per epoch and per evaluated split; null: all", "batches"),
    "overfit_batches": Key(whole(0), "Train on only this number of batches, repeatedly; 0: off", "batches"),
    "init_from": Key(
        optional(TEXT),
        "Run whose weights are the initial values, where names and shapes match; null: random",
        "run folder",
    ),
    "on_nonfinite": Key(
        one_of("stop", "skip", "rollback"),
        "Response to a NaN or infinite loss; skip: at most 10 in a row; rollback: to the last checkpoint, 3 times",
    ),
}
"""The engine's own keys at the top of a config; a dot leads into a node."""

NODES = {
    "data": {
        "validation": Key(number(low=0, below=1), "Part of the training examples used for validation", "fraction"),
        "test": Key(
            number(low=0, below=1),
            "Part of the examples used for testing, where the data set has no test split",
            "fraction",
        ),
        "split": Key(
            one_of("auto", "random", "stratified", "group", "time", "column"),
            "Way to split; auto: by the column that group, time or split_column names, else stratified by class; "
            "stratified for a number: by its quantiles",
        ),
        "group": Key(optional(TEXT), "Column whose equal values stay in one split, such as a patient", "column"),
        "time": Key(
            optional(TEXT), "Column of times to split by: validation is after train, and test is last", "column"
        ),
        "split_column": Key(
            optional(TEXT), "Column that names the split of each row: train, validation, test", "column"
        ),
        "split_seed": Key(whole(0, 2**32 - 1), "Seed of the split into train, validation and test"),
        "folds": Key(optional(whole(2)), "Folds of cross-validation; null: none", "parts"),
        "fold": Key(whole(0), "Fold used for validation instead of data.validation, counted from 0"),
        "shuffle": Key(
            FLAG,
            "Draw a new order of the training examples in each epoch; model.stateful=true has an order of its own",
        ),
        "sampling": Key(
            one_of("uniform", "balanced"),
            "Examples of an epoch: each once, or equally many of each class, those of small classes repeatedly",
        ),
        "scale": Key(
            one_of("auto", "standard", "robust", "quantile", "unit", "symmetric", "none"),
            "Scaling of inputs, fitted on the train split: mean 0, deviation 1; median and quartiles, outliers "
            "bent to ±3; quantiles to a normal distribution; [0, 1]; [-1, 1]; auto: by model and data",
        ),
        "clamp": Key(FLAG, "Keep predicted numbers between the smallest and the largest training target"),
        "preprocess": Key(
            listing(STEP),
            "Preprocessing steps of the inputs, before data.scale: [{_target_: dotted name, options}, ...]",
        ),
        "metrics_in": Key(
            one_of("units", "standardised"),
            "Units of metrics of numbers: those of the target, or of the scaled target, for published results",
        ),
        "feed": Key(
            one_of("auto", "resident", "streamed"),
            "Keep the data on the device, or read it ahead with threads; auto: by its size",
        ),
        "threads": Key(whole(1, 64), "Threads that read a streamed data set ahead", "threads"),
        "timeout": Key(number(above=0), "Longest wait for a batch of a streamed data set", "seconds"),
        "task": Key(
            optional(TEXT), "Usual task of the data, which task=auto takes; auto: it depends on the data's targets"
        ),
        "recipe": Key(optional(TEXT), "Recipe that recipe=auto takes; null: none"),
    },
    "model": {
        "task": Key(
            optional(TEXT),
            "Task of a model that needs no targets, which task=auto takes; null: the data's",
        ),
        "tasks": Key(optional(listing(TEXT)), "Tasks that the model is made for, named in hints; null: any"),
        "recipe": Key(optional(TEXT), "Recipe of the model, for data that has one; null: none"),
        "scale": Key(optional(one_of("unit", "symmetric")), "Scaling that the model needs; null: any"),
        "output_activation": Key(
            optional(one_of("sigmoid", "softmax", "tanh", "relu", "softplus")),
            "Activation between the last layer and the loss; null: none, for losses that take logits",
        ),
    },
    "task": {
        "loss": Key(optional(TEXT), "The loss that loss=auto takes"),
        "metrics": Key(optional(TEXT), "The metrics that metrics=auto takes"),
        "monitor": Key(
            optional(listing(TEXT)),
            "Metrics for monitor=auto: the first of them that is computed, else the loss; null: none is monitored",
        ),
        "models": Key(listing(TEXT), "Models that are made for the task: filled in from their YAML"),
    },
    "loss": {
        "reduction": Key(one_of("mean", "sum"), "Reduction of the losses of a batch"),
        "l1": Key(number(low=0), "Factor of the L1 penalty, the sum of absolute weights"),
        "l2": Key(number(low=0), "Factor of the L2 penalty, half the sum of squared weights"),
    },
    "metrics.*": {
        "better": Key(optional(one_of("higher", "lower")), "Direction that is better; null: cannot be monitored")
    },
    "augment": {
        "off_for": Key(
            optional(INTERVAL),
            "Disable augmentation for this long at the end of training; null: never",
            "steps, or 1ep",
        ),
    },
    "callbacks.*": {
        "every": Key(optional(DURATION), "Interval between calls; absent: eval_every", "steps, or 1ep, 5min")
    },
    "optim": {
        "learning_rate": Key(number(above=0), "Learning rate before the schedule's factor", argument=True),
        "weight_decay": Key(optional(number(low=0)), "Weight decay of kernels", argument=True),
        "weight_decay_schedule": Key(
            one_of("constant", "linear", "cosine", "flat_cosine"),
            "Factor of the weight decay over the run, besides that of the learning rate",
        ),
        "accumulate": Key(whole(1), "Gradient-accumulation microbatches per batch", "microbatches"),
        "clip": Key(
            optional(CLIP),
            "Gradient clipping by norm, block (norm per parameter), value or adaptive (to the weights); null: off",
        ),
        "ema": Key(
            optional(number(above=0, below=1)),
            "Decay of the exponential moving average (EMA) of the weights, used for evaluation; null: off",
        ),
        "groups": Key(
            optional(PARAMETER_GROUPS), "Parts of the model with an optimizer or update interval of their own"
        ),
        "rules": Key(
            listing(RULE), "Rules by parameter name: freeze, or scale the learning rate or the weight decay"
        ),
    },
    "schedule": {
        "stretch": Key(FLAG, "Recompute the schedule when a run is extended, instead of holding its last value"),
        "warmup_epochs": Key(
            optional(number(low=0)), "Warm-up length in epochs; null: schedule.warmup_steps", "epochs"
        ),
    },
    "runtime": {
        "platform": Key(one_of("auto", "cpu", "gpu", "tpu"), "Device type; auto: the fastest one found"),
        "threads": Key(optional(whole(1, 1024)), "CPU threads; null: all", "threads"),
        "deterministic": Key(
            FLAG, "Sum in a fixed order on a GPU; on a CPU, bits depend on runtime.threads with or without it"
        ),
        "cache": Key(FLAG, "Cache compiled programs on disk for the next start"),
        "ops": Key(
            one_of("auto", "stock"),
            "Kernels of convolution, pooling, recurrence, embedding; auto: the fastest here, stock: those of jax",
        ),
        "precision": Key(
            one_of("float32", "mixed", "bfloat16"),
            "Floating-point type; mixed: compute in bfloat16 with float32 parameters; bfloat16: both",
        ),
        "matmul": Key(
            one_of("default", "high", "highest"),
            "Precision of float32 matrix products; default: TF32 on NVIDIA, bfloat16 on TPU; highest: float32",
        ),
        "mesh": Key(
            either("auto", MESH),
            "Device mesh: data parallel, fsdp (sharded parameters), model (divided layers); auto: data parallel "
            "over all devices",
        ),
        "rules": Key(
            listing(DIVISION),
            "Which axis of a parameter the mesh axis model divides, by name; after those of dltrain",
        ),
        "hosts": Key(
            optional(either("auto", HOSTS)),
            "Processes that train together; auto: found from SLURM, Open MPI, Kubernetes or a TPU pod; null: only "
            "this one",
        ),
        "heartbeat": Key(
            number(low=3, below=3601), "Time after which a process that gives no sign of life is lost", "seconds"
        ),
        "elastic": Key(
            FLAG,
            "Continue the run in output_dir if there is one; launchers start again with what is left after a loss",
        ),
    },
    "sweep": {
        "objectives": Key(
            listing(TEXT),
            "What a job returns to its sweeper, such as [validation/loss, parameters]; []: the monitored metric",
        ),
        "sampler": Key(
            one_of("grid", "random", "tpe", "gp", "cmaes", "qmc", "pbt"),
            "How a trial is chosen; grid: every combination; pbt: trials that train together and copy better ones",
        ),
        "trials": Key(whole(1), "Trials of a search, with those of earlier starts in the same folder", "trials"),
        "constraints": Key(
            listing(TEXT),
            "What the results of a job must satisfy to be the best, such as ['parameters<=10000','seconds<60']",
        ),
        "workers": Key(
            whole(1, 1024),
            "Trials that are chosen together, before any of them has a result; with processes=0",
            "trials",
        ),
        "processes": Key(
            whole(0, 256),
            "Processes that train a trial each, and choose the next one as soon as it ends; 0: batches of workers",
            "processes",
        ),
        "pruner": Key(
            one_of("none", "median", "hyperband", "wilcoxon", "asha"),
            "Stop trials that are behind others in the monitored metric of their evaluations; none: stop no trial",
        ),
        "seed": Key(whole(0, 2**32 - 1), "Seed of the choice of trials; seed is that of the training"),
        "known": Key(
            either("auto", listing(TEXT)),
            "Sweeps and runs whose results are taken instead of training the same again: folders or patterns "
            "(outputs/*); auto: the sweeps next to this one; []: none",
        ),
        "repeat": Key(
            FLAG, "Train again what this search, or an earlier sweep, has trained; false: take its result"
        ),
        "storage": Key(
            optional(TEXT), "Optuna storage, by URL; null: the file study.journal in the folder of the sweep", "URL"
        ),
        "interval": Key(whole(1), "With sweep=pbt: evaluations between two exchanges", "evaluations"),
        "resample": Key(
            number(low=0, below=1), "With sweep=pbt: probability that a number is drawn again instead of perturbed"
        ),
    },
}
"""The keys that dltrain reads inside a group's node, next to the arguments of its target.

Of a group of several nodes `GROUP.*` lists those of each node, and `GROUP` those next to the nodes.
"""


def node_keys(group: str) -> Mapping[str, Key]:
    """Name the keys that dltrain reads in each node of a group."""
    return NODES.get(f"{group}.*" if group in MULTIPLE else group, {})


def group_keys(group: str) -> Mapping[str, Key]:
    """Name the keys next to the nodes of a group of several: they are not nodes."""
    return NODES.get(group, {}) if group in MULTIPLE else {}


def find_key(path: str) -> Key | None:
    """Return what dltrain says about a key, None for an argument of a part."""
    group, _, rest = path.partition(".")
    inside = node_keys(group).get(rest.partition(".")[2] if group in MULTIPLE else rest)
    return ENGINE.get(path) or group_keys(group).get(rest) or inside


def engine_keys(group: str) -> tuple[str, ...]:
    """Name the keys of a group's nodes that its target does not get."""
    return tuple(name for name, key in node_keys(group).items() if not key.argument)


def split_node(group: str, node: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a group's node into the arguments of its target and the keys of the engine."""
    own = engine_keys(group)
    return {k: _inner(group, v) for k, v in node.items() if k not in own}, {k: node[k] for k in own if k in node}


def _inner(group: str, value: Any) -> Any:
    """Drop the task in the YAML of a nested source: that of the outer one counts."""
    if group != "data" or not isinstance(value, Mapping) or "_target_" not in value:
        return value
    return {k: _inner(group, v) for k, v in value.items() if k != "task"}


def parse(path: str, key: Key, value: Any, shown: Any = None) -> Any:
    """Convert a value to the engine's type; the ValueError describes the valid values.

    Args:
        path: the key, for the message.
        key: what it may hold.
        value: the value.
        shown: what to print instead, if the value may be a secret.
    """
    try:
        return key.kind.parse(value)
    except (ValueError, OverflowError) as error:
        limit = str(error) if str(error).startswith("must be at most") else f"must be {key.kind.words}"
        raise ValueError(f"{path}={shown or show(value)}: {limit}") from None
