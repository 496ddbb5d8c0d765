"""Several runs side by side: what their configs differ in, and how their results differ.

Runs are compared only where they were measured on the same examples.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dltrain.config.changes import differing
from dltrain.config.hints import show
from dltrain.errors import ConfigError
from dltrain.inference.card import number
from dltrain.inference.record import Record, read_record
from dltrain.report.groups import Group, expand, grouped, names_of, settings_of
from dltrain.report.seeds import difference
from dltrain.runs.folder import existing


@dataclass(frozen=True)
class Comparison:
    """Runs in groups, compared on one split."""

    groups: tuple[Group, ...]
    split: str
    metric: str  # by which the groups are ranked
    higher_is_better: bool
    notes: tuple[str, ...]  # what was left out, and why

    @property
    def records(self) -> list[Record]:
        """All runs."""
        return [record for group in self.groups for record in group.records]

    @property
    def metrics(self) -> list[str]:
        """The metrics that any run has on the split, the one that ranks first."""
        names = dict.fromkeys(n for record in self.records for n in record.best(self.split) if "/" not in n)
        return sorted(names, key=lambda name: (name != self.metric, name == "loss"))

    @cached_property
    def keys(self) -> dict[str, list[str]]:
        """The keys of the config in which groups differ -> the value of each group, as it is typed."""
        configs = [settings_of(group.records[0].config) for group in self.groups]
        keys = dict.fromkeys(key for other in configs[1:] for key in differing(configs[0], other))
        return {key: [_value(group.records[0].config, key) for group in self.groups] for key in keys}

    @property
    def chosen(self) -> dict[str, list[str]]:
        """The same in few words: where another part was chosen, its name stands for all of its keys."""
        found: dict[str, list[str]] = {}
        for key, values in self.keys.items():
            part = key.split(".")[0]
            names = [group.records[0].choices.get(part, "") for group in self.groups]
            if len(set(names)) > 1:
                found[part] = names
            elif not key.startswith("task.") and part != "recipe":
                found[key] = values
        return found

    @cached_property
    def warnings(self) -> list[str]:
        """Say which groups were measured on other examples than the first one, and so cannot be compared."""
        found = []
        for group in self.groups:
            if problem := self._other_data(group.records[0]):
                found.append(
                    f"{group.name} cannot be compared with {self.groups[0].name}: {problem}. Their results stand "
                    "side by side, but a difference may come from the data."
                )
        return found

    def comparable(self, one: Group, other: Group) -> bool:
        """Tell whether two groups were measured on the same examples."""
        return examples_of(one.records[0], self.split) == examples_of(other.records[0], self.split)

    def verdicts(self) -> list[str]:
        """Say of groups on the same examples whether the best differs from each by more than the seeds do."""
        if len(self.groups) == 1:
            return [_alone(self.groups[0], self.split, self.metric)]
        alike: list[list[Group]] = []
        for group in self.ranked():
            home = next((found for found in alike if self.comparable(found[0], group)), None)
            alike.append([group]) if home is None else home.append(group)
        lines = [line for found in alike for line in self._verdicts(found)]
        if len(alike) > 1 and not lines:
            lines.append(f"No two groups were measured on the same {self.split} examples, so none are compared.")
        return lines

    def _verdicts(self, ranked: Sequence[Group]) -> list[str]:
        """Compare the first of some groups with each of the others."""
        testable = sum(len(group.values(self.split, self.metric)) > 1 for group in ranked)
        pairs = testable * (testable - 1) // 2
        lines = [self._verdict(ranked[0], other, max(1, pairs)) for other in ranked[1:]]
        if pairs > 1:
            lines.append(f"p is adjusted for {pairs} pairs of groups (Bonferroni), since the best was picked.")
        return lines

    def ranked(self) -> list[Group]:
        """Return the groups with the metric, the best mean first."""
        sign = -1 if self.higher_is_better else 1
        known = [(group, found) for group in self.groups if (found := group.spread(self.split, self.metric))]
        return [group for group, _ in sorted(known, key=lambda pair: sign * pair[1].mean)]

    def _verdict(self, best: Group, other: Group, pairs: int) -> str:
        """Compare two groups in words."""
        names = f"{best.name} and {other.name}"
        one, two = (group.values(self.split, self.metric) for group in (best, other))
        gap = abs(sum(one) / len(one) - sum(two) / len(two))
        begin = f"{names} differ by {number(gap)} in {self.metric} on {self.split}"
        if len(one) < 2 or len(two) < 2:
            few = "one seed each" if len(one) == len(two) == 1 else "one of them has one seed only"
            return f"{begin}: {few}, cannot tell; run more seeds.{self._over_examples(best, other)}"
        found = difference(one, two, pairs=pairs)
        if found is None:
            return f"{begin}: the seeds of each gave equal values, so their spread cannot be told; run more seeds."
        low, high = found.interval
        between = f"95 % interval of {best.name} - {other.name}: {number(low)} to {number(high)}"
        about = f"{between}; Welch's t-test, p = {found.p:.2g}"
        if found.clear:
            return f"{begin}, which is larger than the spread across seeds ({about}): {best.name} is better."
        return f"{begin}, which is not larger than the spread across seeds ({about}): they cannot be told apart."

    def _over_examples(self, one: Group, other: Group) -> str:
        """Say whether the intervals of two single runs over their examples overlap, if both were evaluated."""
        ends = [group.interval(self.split, self.metric) for group in (one, other)]
        if len(one.records) + len(other.records) > 2 or ends[0] is None or ends[1] is None:
            return ""
        apart = ends[0][0] > ends[1][1] or ends[1][0] > ends[0][1]
        return (
            f" Their intervals over the {self.split} examples {'do not overlap' if apart else 'overlap'}, "
            "which says nothing about other seeds."
        )

    def _other_data(self, record: Record) -> str:
        """Say in what the examples of a run differ from those of the first run; "" if they are the same."""
        first = self.records[0]
        if examples_of(record, self.split) == examples_of(first, self.split):
            return ""
        if not record.data or not first.data:
            return "data.json of one of them is missing"
        if record.data.get("fingerprint") != first.data.get("fingerprint"):
            return "their data differs (another fingerprint)"
        return f"their {self.split} examples differ (another split of the same data)"


def compare(paths: Sequence[str | Path], *, split: str = "auto") -> Comparison:
    """Read runs, and compare the results of their best states.

    Args:
        paths: run folders, and folders of sweeps, which stand for all of their jobs.
        split: test, validation, or auto: test, unless a run has no results on it.

    Raises:
        ConfigError: there are fewer than two runs, or a folder holds none.
        CheckpointError: a file of a run is damaged; the message names it.
    """
    notes: list[str] = []
    found = list(dict.fromkeys(path.resolve() for given in paths for path in expand(Path(given), notes)))
    if len(found) < 2:
        raise ConfigError("compare: name two run folders or more, or the folder of a sweep")
    records = [read_record(existing(str(path))) for path in found]
    labels = names_of(found)
    for record, label in zip(records, labels, strict=True):
        if not record.finished:
            notes.append(f"{label} has not finished: it has curves, but no results.")
    if split == "auto":
        finished = [record for record in records if record.finished]
        split = "test" if finished and all(record.best("test") for record in finished) else "validation"
    metric, higher = _ranking(records, split, notes)
    groups = grouped(records, labels, alike=lambda record: examples_of(record, split))
    for group in groups:
        if group.repeated:
            names = ", ".join(group.repeated)
            notes.append(f"{names}: not counted, since another run of group {group.name} has the same seed.")
    return Comparison(groups, split, metric, higher, tuple(notes))


def _ranking(records: Collection[Record], split: str, notes: list[str]) -> tuple[str, bool]:
    """Return the metric that ranks, and whether more of it is better: the monitored one, if runs agree on it."""
    found = {(r.monitor[1], r.higher_is_better) for r in records if r.finished and r.summary.get("monitor")}
    if len(found) == 1:
        return next(iter(found))
    if len(found) > 1:
        shared = [pair for pair in sorted(found) if all(pair[0] in r.best(split) for r in records if r.finished)]
        names = ", ".join(sorted(name for name, _ in found))
        chosen = shared[0] if shared else ("loss", False)
        notes.append(f"The runs monitored different metrics ({names}); they are ranked by {chosen[0]}.")
        return chosen
    return "loss", False


def examples_of(record: Record, split: str) -> tuple[Any, Any]:
    """Return what identifies the examples of a split: the data's fingerprint, and the hash of their indices."""
    return record.data.get("fingerprint"), record.data.get("splits", {}).get(split)


def _alone(group: Group, split: str, metric: str) -> str:
    found = group.spread(split, metric)
    if found is None or found.deviation is None:
        return "All runs have the same config apart from their seeds, so there is nothing to compare."
    return (
        f"All runs have the same config apart from their seeds: {metric} on {split} is {number(found.mean)} with a "
        f"standard deviation of {number(found.deviation)} over {found.count} seeds."
    )


def _value(config: Mapping[str, Any], key: str) -> str:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return "not set"
        node = node[part]
    return show(node)
