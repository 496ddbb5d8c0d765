"""Figures of a model's predictions on a split; the task determines which."""

import numpy as np

from dltrain.build.program import Program
from dltrain.engine.evaluate import Evaluation
from dltrain.engine.state import TrainState
from dltrain.inference.abilities import attends, draws_samples
from dltrain.inference.open import bundle_of
from dltrain.metrics.forecasting import STEP_METRICS
from dltrain.plots.chosen import choose, worst_of
from dltrain.plots.plot import Plot, plot
from dltrain.report.generated import generate_for
from dltrain.report.sampling import plot_samples
from dltrain.tasks.task import Drawing
from dltrain.types import Kind, content, shown

PANELS = 4  # examples whose attention is drawn
FEW = 12  # images in a line of a figure
SCATTERED = 20_000  # examples of a scatter plot, and of its R²
CANDIDATES = 1000  # the first and the worst examples, from which those to draw are chosen


def plot_split(program: Program, state: TrainState, found: Evaluation) -> dict[str, Plot]:
    """Return the figures of an evaluated split, yet to be drawn: name -> figure."""
    spec = program.parts.spec
    figures = {name: _of_task(how, program, state, found) for name, how in spec.task.figures(spec).items()}
    if attends(program.module):
        figures["attention"] = _attention(program, state, found)
    if draws_samples(program.module):
        figures["generated"] = plot_samples(program, state)
    if "confusion" in found.arrays and np.isfinite(found.arrays["confusion"]).all():
        figures["confusion_matrix"] = plot("confusion.confusion", found.arrays["confusion"], spec.classes)
    if "per_step" in found.arrays and np.isfinite(found.arrays["per_step"]).all():
        figures["per_step"] = plot("forecasts.per_step", found.arrays["per_step"], STEP_METRICS)
    return figures


def _of_task(how: Drawing, program: Program, state: TrainState, found: Evaluation) -> Plot:
    """Return one figure of a task: a known one by its name, else of the task's own function."""
    if isinstance(how, str):
        return KNOWN[how](program, state, found)
    spec = program.parts.spec
    examples = found.examples[_worst_and_others(found)]
    read, decisions = program.parts.source.read(examples), spec.task.decide(program.outputs(state, examples), spec)
    return plot(how, shown(read, spec), read["targets"], decisions, spec)


def _worst_and_others(found: Evaluation) -> np.ndarray:
    """Return the positions of FEW examples, half of them those with the largest losses."""
    worst = np.argsort(-np.nan_to_num(found.losses, nan=np.inf), kind="stable")[: FEW // 2]
    return np.concatenate([worst, np.setdiff1d(np.arange(len(found.examples)), worst)[: FEW - len(worst)]])


def _reconstructions(program: Program, state: TrainState, found: Evaluation) -> Plot:
    """Plot examples and their reconstructions: images one below the other, numbers as a scatter plot."""
    parts = program.parts
    images = parts.spec.input.kind is Kind.IMAGE
    examples = found.examples[: FEW if images else CANDIDATES]
    outputs = program.outputs(state, examples)
    scaled = parts.spec.task.decide(outputs, parts.spec)["reconstruction"]
    originals = content(parts.source.read(examples), parts.spec)
    back = parts.preprocess.raw_content(scaled)
    if images:
        title = f"the first {len(examples)} examples, all in the range of the originals"
        return plot("panels.panels", {"original": originals, "reconstruction": np.asarray(back)}, title)
    return plot("samples.scatter", originals, np.asarray(back), parts.spec.input.names)


def _masks(program: Program, state: TrainState, found: Evaluation) -> Plot:
    """Plot inputs with true and predicted classes of their pixels; half of them have the largest losses."""
    examples, spec = found.examples[_worst_and_others(found)], program.parts.spec
    read = program.parts.source.read(examples)
    predicted = np.asarray(spec.task.decide(program.outputs(state, examples), spec)[spec.task.decision])
    title = f"the first {min(FEW // 2, len(examples))} have the largest loss"
    return plot("panels.masks", shown(read, spec), read["targets"], predicted, spec.classes, title)


def _samples(program: Program, state: TrainState, found: Evaluation) -> Plot:
    """Plot the examples with the largest errors and some others; of a regression on tables, a scatter plot."""
    spec, image = program.parts.spec, program.parts.spec.shown.kind is Kind.IMAGE
    among = np.arange(min(SCATTERED, len(found.examples)))
    if spec.classes or image:
        worst = np.argsort(-np.nan_to_num(found.losses, nan=np.inf), kind="stable")[:CANDIDATES]
        among = np.union1d(np.arange(min(CANDIDATES, len(found.examples))), worst)
    examples, losses = found.examples[among], found.losses[among]
    decided = {name: np.asarray(v) for name, v in spec.task.decide(program.outputs(state, examples), spec).items()}
    prediction, confidence = decided[spec.task.decision], _confidence(decided, spec.task.decision)
    read = program.parts.source.read(examples)
    inputs, truth = shown(read, spec), read["targets"]
    drawn, first = np.arange(len(examples)), 0
    if image:
        drawn, first = choose(truth, prediction, losses), worst_of(truth, prediction)
    return plot(
        "samples.samples",
        inputs[drawn],
        spec.shown.kind,
        truth[drawn],
        prediction[drawn],
        losses[drawn],
        spec.classes,
        names=spec.target.names,
        confidence=None if confidence is None else confidence[drawn],
        worst=first,
    )


def _confidence(decided: dict[str, np.ndarray], decision: str) -> np.ndarray | None:
    """Return the probability of each predicted class, float [N], if the task tells probabilities."""
    if "probabilities" in decided:
        return decided["probabilities"].max(-1)
    if "probability" in decided:  # of the second of two classes
        return np.where(decided[decision] == 1, decided["probability"], 1 - decided["probability"])
    return None


def _captions(program: Program, state: TrainState, found: Evaluation) -> Plot:
    """Plot images with generated and true captions, some of the wrong ones first."""
    examples, losses = found.examples[:CANDIDATES], found.losses[:CANDIDATES]
    generated = list(generate_for(bundle_of(program, state), program.parts.source.read(examples), examples))
    right = np.array([one.right for one in generated], int)
    drawn = choose(np.ones(len(examples), int), right, losses)
    texts = [(generated[i].text, generated[i].truth) for i in drawn]
    images = content(program.parts.source.read(examples[drawn]), program.parts.spec)
    return plot("samples.captioned", images, texts, worst_of(np.ones(len(examples), int), right))


def _attention(program: Program, state: TrainState, found: Evaluation) -> Plot:
    """Plot the attention weights of the first examples."""
    spec, examples = program.parts.spec, found.examples[:PANELS]
    arrays = program.parts.source.read(examples)
    weights = bundle_of(program, state).attention(arrays["inputs"])
    inputs, words = content(arrays, spec), spec.input.vocabulary
    if weights.ndim == 3:
        name = spec.find(Kind.LENGTH)
        lengths = arrays["inputs"][name] if name else [inputs.shape[1]] * len(examples)
        valid = [tokens[:n] for tokens, n in zip(inputs, lengths, strict=True)]
        truth = [tokens[mask] for tokens, mask in zip(arrays["targets"], arrays["loss_mask"], strict=True)]
        shades = [w[: len(t), : len(s)] for w, t, s in zip(weights, truth, valid, strict=True)]
        named = [[[words[i] for i in tokens] for tokens in some] for some in (valid, truth)]
        return plot("attention.over_tokens", *named, shades)
    titles = [f"example {index}" for index in examples]
    if spec.input.kind is Kind.TOKENS:
        read = [[words[i] for i in tokens] for tokens in inputs]
        return plot("attention.over_tokens", read, [["weight"]] * len(examples), list(weights[:, None]))
    return plot("attention.over_steps", inputs, weights, titles)


def _forecasts(program: Program, state: TrainState, found: Evaluation) -> Plot:
    """Plot forecasts of windows that are evenly spread over the split, with what came before."""
    spec, count = program.parts.spec, len(found.examples)
    examples = found.examples[np.unique(np.linspace(0, count - 1, min(PANELS, count)).astype(int))]
    decided = spec.task.decide(program.outputs(state, examples), spec)
    read = program.parts.source.read(examples)
    past, names = shown(read, spec), spec.target.names
    known = [spec.shown.names.index(name) for name in names if name in spec.shown.names]
    past = past[:, :, known] if len(known) == len(names) and names else np.zeros((len(examples), 0, 0))
    return plot(
        "forecasts.forecasts",
        past,
        read["targets"],
        {name: np.asarray(value) for name, value in decided.items()},
        names=names,
        titles=[f"window {index}" for index in examples],
    )


KNOWN = {
    "forecasts": _forecasts,
    "samples": _samples,
    "captions": _captions,
    "reconstructions": _reconstructions,
    "masks": _masks,
}
"""The figures that a task can name."""
