"""The options of each command: what they may hold, and their help."""

from dltrain.config.kinds import FLAG, TEXT, either, listing, number, one_of, optional, whole
from dltrain.config.schema import Key

SAVED = either("best", either("last", whole(0)))
CHECKPOINT = Key(SAVED, "Checkpoint to load: best, last, or a step")

COMMANDS: dict[str, dict[str, Key]] = {
    "resume": {},
    "init": {
        "output": Key(
            optional(TEXT), "File to write, FOLDER/experiment/NAME.yaml; null: conf/experiment/NAME.yaml", "path"
        ),
    },
    "find-lr": {
        "lowest": Key(number(above=0), "Learning rate of the first step"),
        "highest": Key(number(above=0), "Learning rate of the last step"),
        "rates": Key(whole(10, 10_000), "Learning rates to try, one for each training step", "steps"),
        "output": Key(optional(TEXT), "Folder of the results; null: find-lr/NAME", "path"),
    },
    "find-batch": {
        "smallest": Key(whole(1), "First batch size; each further one is twice as large", "examples"),
        "largest": Key(optional(whole(1)), "Most examples of a batch; null: all of the training set", "examples"),
        "seconds": Key(number(above=0), "Time to measure each batch size for, after warm-up", "seconds"),
        "output": Key(optional(TEXT), "Folder of the results; null: find-batch/NAME", "path"),
    },
    "inspect": {
        "output": Key(optional(TEXT), "Folder of the report about data; null: inspect/NAME", "path"),
        "count": Key(whole(1), "Examples of a run to list", "examples"),
        "checkpoint": Key(SAVED, "Checkpoint of a run to load: best, last, or a step"),
    },
    "report": {
        "output": Key(optional(TEXT), "File to write, PATH.html; null: report.html of the run", "path"),
    },
    "compare": {
        "output": Key(
            optional(TEXT), "File to write, PATH.html; null: comparison.html, or sweep.html of the sweep", "path"
        ),
        "split": Key(
            one_of("auto", "test", "validation"),
            "Split whose results are compared; auto: test, or validation where a run has no test split; another "
            "value compares the jobs of a sweep like single runs",
        ),
    },
    "ensemble": {
        "output": Key(TEXT, "Folder to write", "path"),
        "top": Key(whole(1), "Most runs to take, the best by the metric that they monitored", "runs"),
        "calibrate": Key(FLAG, "Fit one temperature for the probabilities of classes on the validation examples"),
        "overwrite": Key(FLAG, "Replace an ensemble that exists"),
    },
    "crossval": {
        "folds": Key(whole(2), "Folds, one run for each", "parts"),
    },
    "seeds": {
        "count": Key(whole(2), "Runs to train, with the seeds seed, seed+1, ...", "runs"),
    },
    "evaluate": {
        "split": Key(one_of("train", "validation", "test", "all"), "Split to evaluate"),
        "checkpoint": CHECKPOINT,
        "tta": Key(one_of("none", "flip"), "Also evaluate the mean over changed images; flip: mirrored ones"),
        "figures": Key(FLAG, "Draw curves, residuals and examples"),
        "output": Key(optional(TEXT), "Folder of the results; null: evaluation/SPLIT of the run", "path"),
    },
    "predict": {
        "input": Key(optional(TEXT), "File or folder of new examples; -: standard input", "path"),
        "output": Key(TEXT, "File to write: .csv, .jsonl, .parquet or .npz; -: CSV on standard output", "path"),
        "on_bad": Key(one_of("empty", "error"), "What happens to examples that cannot be read"),
        "keep": Key(listing(TEXT), "Columns of the input that are repeated next to the predictions"),
        "overwrite": Key(FLAG, "Replace an output that exists"),
        "checkpoint": CHECKPOINT,
    },
    "explain": {
        "input": Key(
            optional(TEXT),
            "File or folder of examples to explain, as for predict; null: examples of the split",
            "path",
        ),
        "split": Key(
            optional(one_of("train", "validation", "test")),
            "Split that the examples are taken from; null: test, else validation, else train",
        ),
        "checkpoint": CHECKPOINT,
        "examples": Key(whole(1), "Examples to explain one by one", "examples"),
        "target": Key(
            optional(TEXT), "Class, label or target to explain; null: the predicted class, the first target"
        ),
        "repeats": Key(whole(1, 10_000), "Permutations of each column of a table"),
        "columns": Key(whole(0), "Most important columns of a table to compute partial dependence of", "columns"),
        "rows": Key(whole(1), "Most rows of a table to compute importance and dependence on", "rows"),
        "tolerance": Key(number(above=0), "Relative error of the sum of integrated gradients to aim at"),
        "steps": Key(whole(1, 4096), "Most points of the path of integrated gradients", "points"),
        "seed": Key(whole(0, 2**32 - 1), "Seed of the permutations, and of the choice of rows"),
        "output": Key(optional(TEXT), "Folder of the results; null: explain/ of the run", "path"),
    },
    "generate": {
        "prompt": Key(optional(TEXT), "Text that a language model continues; null: the start of a line"),
        "tokens": Key(whole(1), "Length of the generated text", "tokens"),
        "temperature": Key(
            optional(number(low=0)),
            "Sampling temperature; 0: the most likely token; null: 0.8 for text, 0 for examples of the data",
        ),
        "top_k": Key(optional(whole(1)), "Sample from this number of most likely tokens; null: from all", "tokens"),
        "seed": Key(whole(0, 2**32 - 1), "Seed of sampling"),
        "count": Key(
            optional(whole(1)), "Texts or examples to generate; null: 1 text, 64 images, 1000 rows of a table"
        ),
        "output": Key(
            optional(TEXT), "PATH.npz for examples; null: report/generated_seed_N.npz of the run", "path"
        ),
        "split": Key(one_of("train", "validation", "test"), "Split that the examples are taken from"),
        "examples": Key(whole(1), "Examples to generate sequences from", "examples"),
        "checkpoint": CHECKPOINT,
    },
    "export": {
        "output": Key(optional(TEXT), "Folder to write; null: export/NAME", "path"),
        "format": Key(one_of("stablehlo", "onnx", "safetensors"), "What to export; onnx adds it to stablehlo"),
        "python": Key(optional(TEXT), "Python of an environment with jax2onnx, for format=onnx", "path"),
        "refresh": Key(FLAG, "Export an exported folder again, with the jax of today"),
        "examples": Key(optional(TEXT), "File .npz with inputs to check with; null: the data of the run", "path"),
        "keep_examples": Key(FLAG, "Write the examples that were checked into the folder, too"),
        "overwrite": Key(FLAG, "Replace an export that is there"),
        "checkpoint": CHECKPOINT,
    },
    "serve": {
        "host": Key(TEXT, "Address to listen on; one that other machines reach needs a token"),
        "port": Key(whole(0, 65535), "Port to listen on; 0 takes a free one"),
        "token": Key(
            optional(TEXT), "Token that requests must have; null: DLTRAIN_TOKEN of the environment, or none"
        ),
        "batch": Key(whole(1, 65536), "Largest batch of requests that are answered together", "examples"),
        "delay": Key(
            number(low=0), "Time to wait for more requests before a batch that is not full", "milliseconds"
        ),
        "queue": Key(whole(1), "Requests that may wait; more get status 503", "requests"),
        "connections": Key(whole(1), "Connections that may be open at once", "connections"),
        "max_rows": Key(whole(1), "Most examples of one request", "examples"),
        "max_body": Key(number(above=0, below=4096), "Largest body of one request", "MiB"),
        "timeout": Key(number(above=0), "Time for a body to arrive, and for an answer", "seconds"),
        "checkpoint": CHECKPOINT,
    },
}
"""The commands whose typed keys are checked before they are imported; defaults are in configs/<command>.yaml."""
