"""The figures of an explanation."""

from typing import Any

import numpy as np

from dltrain.inference.explain.explanation import Explanation
from dltrain.types import Kind, by_name


def figures(found: Explanation) -> dict[str, Any]:
    """Draw what was found: name -> figure."""
    drawn = {**_images(found), **_columns(found), **_texts(found), **_occlusion(found), **_attention(found)}
    if found.filters is not None:
        from dltrain.plots.explain_images import filters

        drawn["filters"] = filters(found.filters.weights, found.filters.layer)
    return drawn


def title_of(found: Explanation, index: int, *, one_line: bool = False) -> str:
    """Return what is predicted for an example, and what is true where that is known and differs."""
    spec, decided, targets = found.spec, found.predictions, found.examples.targets
    if not spec.has_labels:
        return _of_value(found, index)
    number = int(decided["class"][index])
    share = float(spec.task.probabilities(decided)[index][number])
    explained = found.attributions.explained[index]
    title = f"{spec.classes[number]} {share:.0%}"
    if explained != spec.classes[number]:
        title += f", {explained} explained"
    if targets is not None and int(targets[index]) != number:
        title += f"{', true: ' if one_line else chr(10) + 'true: '}{spec.classes[int(targets[index])]}"
    return title


def _of_value(found: Explanation, index: int) -> str:
    """Return the predicted value of the explained target, and the true one."""
    spec, explained = found.spec, found.attributions.explained[index]
    value = found.predictions.decisions.get("value")
    (target,) = spec.targets.values()
    if value is None or target.kind is not Kind.NUMBERS:
        return explained
    from dltrain.inference.explain.select import target_names

    place = target_names(spec).index(explained)
    wide = max(1, len(target_names(spec)))

    def mean(values: Any) -> str:
        return f"{np.asarray(values, np.float64).reshape(-1, wide)[:, place].mean():.4g}"

    truth = "" if found.examples.targets is None else f" (true: {mean(found.examples.targets[index])})"
    return f"{explained} {mean(value[index])}{truth}"


def wrong_ones(found: Explanation) -> list[bool]:
    """Tell which examples are predicted wrongly; none where there are no classes."""
    targets = found.examples.targets
    if targets is None or not found.spec.has_labels:
        return [False] * len(found.examples)
    return (np.asarray(found.predictions["class"]) != np.asarray(targets)).tolist()


def _images(found: Explanation) -> dict[str, Any]:
    spec, drawn = found.spec, {}
    named = by_name(found.examples.inputs, spec.inputs)
    images = [name for name, feature in spec.contents.items() if feature.kind is Kind.IMAGE]
    for name in images:
        from dltrain.plots.explain_images import overlays

        titles = [title_of(found, i) for i in range(len(found.examples))]
        about = found.attributions.values[name], found.attributions.saliency[name]
        key = "attributions" if len(images) == 1 else f"attributions_{name}"
        drawn[key] = overlays(named[name], *about, titles, wrong=wrong_ones(found))
    return drawn


def _columns(found: Explanation) -> dict[str, Any]:
    if not found.columns:
        return {}
    from dltrain.plots.explain_columns import Panel, contributions, dependence, importance

    titles = [title_of(found, i) for i in range(len(found.examples))]
    drawn = {"rows": contributions(found.columns, found.values, titles, wrong=wrong_ones(found))}
    if (one := found.importance) is not None:
        order = one.order()
        drawn["importance"] = importance(
            [one.columns[k] for k in order],
            {name: one.mean(name)[order] for name in one.drops},
            {name: one.half_width(name)[order] for name in one.drops},
            {name: one.drops[name][order] for name in one.drops},
            titles={
                n: f"{'fall' if up else 'rise'} of {n} (it is {one.scores[n]:.4g})" for n, up in one.higher.items()
            },
        )
    if found.dependence:
        panels = [Panel(d.part, d.grid, d.curves, d.values) for d in found.dependence]
        outputs = list(found.dependence[0].curves)
        what = outputs[0].replace("probability_", "probability of ") if len(outputs) == 1 else "prediction"
        drawn["dependence"] = dependence(panels, what=what)
    return drawn


def _texts(found: Explanation) -> dict[str, Any]:
    if not found.texts:
        return {}
    from dltrain.plots.explain_tokens import coloured

    texts = [(text, i) for each in found.texts.values() for i, text in enumerate(each)]
    wrong, several = wrong_ones(found), len(found.texts) > 1
    titles = [
        f"{title_of(found, i, one_line=True)}{f'   [{text.feature}]' if several else ''}" for text, i in texts
    ]
    about: dict[str, Any] = {"wrong": [wrong[i] for _, i in texts], "spaced": _are_words(found)}
    tokens = [text.tokens for text, _ in texts]
    drawn = {"tokens": coloured(tokens, [text.values for text, _ in texts], titles, **about)}
    if all(len(text.attention) for text, _ in texts):
        legend = "the darker, the more attention a token gets"
        drawn["attention"] = coloured(tokens, [text.attention for text, _ in texts], titles, **about, legend=legend)
    return drawn


def _are_words(found: Explanation) -> bool:
    """Tell whether tokens are words: most are longer than one character."""
    lengths = [len(token) for each in found.texts.values() for text in each for token in text.tokens]
    return bool(lengths) and float(np.mean(np.array(lengths) > 1)) > 0.3


def _occlusion(found: Explanation) -> dict[str, Any]:
    drawn = {}
    for one in found.occlusion:
        from dltrain.plots.explain_series import occlusion

        title = f"{one.feature}: a stretch of a column replaced by its mean ({one.windows} examples)"
        key = "occlusion" if len(found.occlusion) == 1 else f"occlusion_{one.feature}"
        drawn[key] = occlusion(one.effect, one.columns, one.stretches, one.outputs, title=title)
    return drawn


def _attention(found: Explanation) -> dict[str, Any]:
    if found.attention is None or found.texts or len(found.spec.contents) != 1:
        return {}
    from dltrain.plots.attention import over_steps

    inputs = by_name(found.examples.inputs, found.spec.inputs)[found.spec.input_name][:4]
    return {"attention": over_steps(inputs, found.attention, [title_of(found, i) for i in range(len(inputs))])}
