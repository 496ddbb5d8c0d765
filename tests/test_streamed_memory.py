"""Memory stays constant while a data set ten times the size of the feed's buffer is streamed."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

MIB = 2**20

SOURCE = '''
    """Rows that are made when they are read: as many bytes as wanted, and none of them anywhere."""

    import json
    import resource
    import sys
    from pathlib import Path

    import numpy as np

    from dltrain.types import Feature, Kind, Spec

    FEATURES = 4096  # float32: a row of 16 KiB


    class Made:
        def __init__(self, rows: int) -> None:
            self.rows = rows
            x, y = (Feature(Kind.NUMBERS, (count,), "float32") for count in (FEATURES, 1))
            self.spec = Spec({"x": x}, {"y": y})
            self.fingerprint = f"made {rows}"
            self.published = {}

        def __len__(self):
            return self.rows

        def read(self, indices):
            inputs = np.empty((len(indices), FEATURES), np.float32)
            inputs[:] = np.sin(np.asarray(indices))[:, None]
            return {"inputs": inputs, "targets": inputs[:, :1]}


    class Peak:
        """Writes down the most memory that the process has had, at the end of each chunk."""

        def __init__(self, path: str) -> None:
            self.path, self.seen = Path(path), []

        def __call__(self, event):
            unit = 1 if sys.platform == "darwin" else 1024
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
            self.seen.append([event.step, most])
            self.path.write_text(json.dumps(self.seen))
'''

SCRIPT = """
import sys
from dltrain.cli import main as cli
from dltrain.data import scan
from dltrain.engine import chunk
from dltrain.report import finish
chunk.FEED_BYTES = {buffer}
scan.MOST_EXAMPLES = 64  # rows: what is checked before training shall not hide what training takes
finish.draw = lambda *args, **options: None
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("buffer", [8 * MIB, pytest.param(64 * MIB, marks=pytest.mark.slow)])
def test_ten_times_the_buffer_goes_through_in_flat_memory(tmp_path, buffer):
    (tmp_path / "widelib.py").write_text(textwrap.dedent(SOURCE).lstrip())
    for name, text in {
        "data/made.yaml": "# Made up\n_target_: widelib.Made\nrows: 1\n",
        "callbacks/peak.yaml": "# Peaks\npeak: {_target_: widelib.Peak, path: peaks.json, every: 1}\n",
    }.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text(text)
    rows, batch = 10 * buffer // (4096 * 4), 32
    room = buffer // (batch * 4096 * 4)  # batches of a chunk, as many as the buffer holds
    words = ["--config-dir", "conf", "trust=[widelib]", "data=made", f"data.rows={rows}", "callbacks=[peak]"]
    words += ["task=regression", "data.scale=none", "data.validation=0", "data.test=0", "data.feed=streamed"]
    words += [
        "model=linear",
        "loss=mse",
        "optim=sgd",
        "optim.learning_rate=1e-6",
        "epochs=1",
        f"batch_size={batch}",
    ]
    words += [f"callbacks.peak.every={room // 4}", "checkpoint_every=1ep", "eval_every=1ep", "output_dir=run"]
    script = SCRIPT.format(buffer=buffer)
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    peaks = json.loads((tmp_path / "peaks.json").read_text())
    steps = rows // batch
    assert peaks[-1][0] == steps
    first = next(most for step, most in peaks if step >= 2 * room)  # it was filled and handed over twice
    # All that is kept at once was there by then: batches in waiting, a chunk being made, one or two on the device.
    # A buffer and a half are left for what the allocator scatters; batches kept for good would cost eight buffers.
    assert peaks[-1][1] - first <= 1.5 * buffer
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0 <= summary["waiting"] <= 1
