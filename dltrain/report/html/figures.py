"""The figures and texts of a run folder, inside the page."""

import base64
from pathlib import Path

from dltrain.inference.record import Record
from dltrain.report.html.page import Markup, element, folded, join, pre
from dltrain.runs.sealed import read_bytes

PNG = b"\x89PNG\r\n\x1a\n"
LARGEST = 4 << 20  # bytes of a figure
ALL = 24 << 20  # bytes of all figures
LONGEST = 6000  # characters of a text
CAPTIONS = {
    "confusion_matrix": "Confusion matrix: how often examples of a class (row) were given each class (column)",
    "samples": "Examples with truth and prediction",
    "curves": "All curves, as drawn at the end of training",
    "reconstructions": "Examples and their reconstructions",
    "masks": "Examples with true and predicted masks",
    "generated": "Generated examples",
    "attention": "Attention weights of a few examples",
    "augmented": "Training examples as the model sees them, after augmentation",
    "per_step": "Error by step of the forecast",
    "forecasts": "Forecasts over the true values",
    "roc": "ROC curves: the share of a class that is found, by the share of the others taken for it",
    "precision_recall": "Precision by recall of each class",
    "calibration": "Calibration: how often predictions of each confidence are right",
    "residuals": "Residuals (truth minus prediction) by prediction",
    "sample": "A text that the model generated",
    "neighbours": "Nearest neighbours of each token",
    "profile": "Where the time of the recorded steps went",
    "parallel_coordinates": "Parallel coordinates: a line for each job, through its values and its result",
    "slices": "The result of each job by each key on its own; the star is the best job",
    "contour": "The result over the two most important numeric keys",
    "pareto_front": "Both objectives of each job; no other job is better in both than one on the line",
}
LAST = ("augmented", "curves")
REDRAWN = (
    "samples.png",
    "confusion_matrix.png",
    "forecasts.png",
    "masks.png",
    "reconstructions.png",
    "per_step.png",
)
"""Figures that an evaluation draws again, mostly of the same split."""


def figures(record: Record) -> Markup:
    """Show every figure of `report/`, its texts below a fold, and what evaluations add to these figures."""
    places = [record.folder.report, *(record.path / "evaluation" / name for name in record.evaluations)]
    found: dict[str, Path] = {}
    for path in (path for place in places for path in _files(place, ".png")):
        found.setdefault(path.name if path.name in REDRAWN else str(path), path)
    parts, left = [], ALL
    for path in found.values():
        part, size = picture(path, record.path, left)
        parts.append(part)
        left -= size
    texts = [
        folded(caption(path), pre(_text(path)))
        for path in _files(record.folder.report, ".txt")
        if not path.name.startswith(".")
    ]
    return join(*parts, *texts) if parts or texts else element("p", "The run folder has no figures.")


def caption(path: Path) -> str:
    """Say what a figure or text shows, by the name of its file."""
    return CAPTIONS.get(path.stem, path.stem.replace("_", " "))


def _files(place: Path, suffix: str) -> list[Path]:
    """List the files of a folder; links are left out: what they lead to may be private, and reports are shared."""
    if place.is_symlink() or not place.is_dir():
        return []
    found = [p for p in place.iterdir() if p.suffix == suffix and p.is_file() and not p.is_symlink()]
    return sorted(found, key=lambda path: (path.stem in LAST, path.name))


def picture(path: Path, run: Path, left: int) -> tuple[Markup, int]:
    """Return a figure, and its size in bytes; a message if it is too large, or is no PNG."""
    size, name = path.stat().st_size, str(path.relative_to(run))
    if size > min(LARGEST, left):
        return _missing(name, f"it has {size / (1 << 20):.1f} MiB, and a report stays small enough to be sent"), 0
    content = read_bytes(path)
    if not content.startswith(PNG):
        return _missing(name, "it is not a PNG file"), 0
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    image = element("img", src=source, alt=caption(path))
    about = element("figcaption", f"{caption(path)} ({name})")
    return element("figure", image, about, class_="picture"), size


def _missing(name: str, reason: str) -> Markup:
    return element("p", f"{name} is not shown: {reason}. It is in the run folder.", class_="subtitle")


def _text(path: Path) -> str:
    text = read_bytes(path).decode("utf-8", errors="replace")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n... ({len(text):,} characters in {path.name})"
