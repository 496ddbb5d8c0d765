"""What the server counts, in the text format of Prometheus.

Written by hand: four counters and four histograms need less than the client library, which would be a dependency of
everyone who serves a model.
"""

import bisect
import threading
from collections.abc import Callable, Iterator, Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


class Counter:
    """Numbers that only grow, one for each combination of labels."""

    kind = "counter"

    def __init__(self, name: str, text: str, *labels: str) -> None:
        """Set the name, the help text and the names of the labels."""
        self.name, self.text, self.labels = name, text, labels
        self._values: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, count: float = 1) -> None:
        """Count."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + count

    def value(self, *labels: str) -> float:
        """Return the number."""
        return self._values.get(labels, 0)

    def lines(self) -> Iterator[str]:
        """Write the samples."""
        with self._lock:
            values = dict(self._values)
        for labels, value in sorted(values.items()) if self.labels else [((), values.get((), 0))]:
            yield f"{self.name}{_braces(zip(self.labels, labels, strict=True))} {value:.12g}"


class Histogram:
    """How often values were at most each bound."""

    kind = "histogram"

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        """Set the name, the help text and the upper bounds."""
        self.name, self.text, self._bounds = name, text, tuple(bounds)
        self._counts, self._sum = [0] * (len(bounds) + 1), 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Add a value."""
        with self._lock:
            self._counts[bisect.bisect_left(self._bounds, value)] += 1
            self._sum += value

    def lines(self) -> Iterator[str]:
        """Write the samples."""
        with self._lock:
            counts, total, below = list(self._counts), self._sum, 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
            below += count
            yield f'{self.name}_bucket{{le="{bound}"}} {below}'
        yield f"{self.name}_sum {total:.9g}"
        yield f"{self.name}_count {below}"


class Gauge:
    """A number that is read when it is asked for."""

    kind = "gauge"

    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Set the name, the help text and the function that returns the number."""
        self.name, self.text, self._read = name, text, read

    def lines(self) -> Iterator[str]:
        """Write the sample."""
        yield f"{self.name} {self._read():.12g}"


class Metrics:
    """All numbers of a server."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.requests = Counter("dltrain_requests_total", "Answered requests", "route", "code")
        self.rejected = Counter("dltrain_rejected_total", "Requests that were refused", "reason")
        self.disconnected = Counter("dltrain_disconnected_total", "Requests whose client left before the answer")
        self.rows = Counter("dltrain_rows_total", "Examples that were answered")
        self.latency = Histogram("dltrain_request_seconds", "Time from headers to answer", SECONDS)
        self.waited = Histogram("dltrain_queue_seconds", "Time that a request waited for its batch", SECONDS)
        self.batch_rows = Histogram("dltrain_batch_rows", "Examples of a batch, without padding", ROWS)
        self.batch_size = Histogram("dltrain_batch_size", "Size of a batch, with padding", ROWS)
        self.batch_seconds = Histogram("dltrain_batch_seconds", "Time to run a batch", SECONDS)
        self.gauges: list[Gauge] = []

    def batch(self, rows: int, size: int, seconds: float) -> None:
        """Note a batch."""
        self.batch_rows.observe(rows)
        self.batch_size.observe(size)
        self.batch_seconds.observe(seconds)
        self.rows.add(count=rows)

    def text(self) -> str:
        """Write everything as Prometheus reads it."""
        found = (value for value in vars(self).values() if isinstance(value, Counter | Histogram))
        lines = []
        for metric in (*found, *self.gauges):
            lines += [f"# HELP {metric.name} {metric.text}", f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
        return "\n".join(lines) + "\n"


def _braces(pairs: "zip[tuple[str, str]]") -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
