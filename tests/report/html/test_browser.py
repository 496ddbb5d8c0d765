"""The pages in headless Chromium: the script works, nothing is reported to the console, and nothing is too wide."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written_runs import CONFIG, HOSTILE, write_run

from dltrain.inference.record import read_record
from dltrain.report.comparison import compare
from dltrain.report.html.comparison import comparison_page
from dltrain.report.html.run import report_page
from dltrain.runs.folder import RunFolder

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian: apt-get install chromium)"),
]
SIZES = {"phone": 390, "desktop": 1280}
PROBE = """<script>
{
  const figure = document.querySelector("figure.chart"), plot = figure.querySelector(".plot");
  const lines = () => plot.querySelectorAll('path[stroke^="#"]').length;
  const box = plot.getBoundingClientRect(), found = { charts: document.querySelectorAll("figure.chart").length };
  const ticks = () => [...plot.querySelectorAll("text[text-anchor=end]")].map((node) => node.textContent);
  found.lines = lines();
  const [button] = figure.querySelectorAll(".key button");
  button.click();
  found.hidden = lines();
  button.click();
  found.ticks = ticks();
  figure.querySelector(".scale").click();
  found.logTicks = ticks();
  figure.querySelector(".scale").click();
  plot.dispatchEvent(new PointerEvent("pointermove", { clientX: box.right - 15, clientY: box.top + 50 }));
  found.readout = figure.querySelector(".readout").textContent;
  plot.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
  found.before = figure.querySelector(".readout").textContent;
  found.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  found.dark = matchMedia("(prefers-color-scheme: dark)").matches;
  found.background = getComputedStyle(document.body).backgroundColor;
  const out = document.createElement("output");
  out.textContent = JSON.stringify(found);
  document.body.append(out);
}
</script></body>"""


def chromium(path: Path, *options: str, dark: bool = False, width: int = 1280) -> subprocess.CompletedProcess:
    """Open a page without network; what it writes to the console is in stderr."""
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    words = [
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--enable-logging=stderr",
    ]
    profile = f"--user-data-dir={path.parent / 'profile'}"
    words += [*scheme, profile, f"--window-size={width},1200", *options, path.as_uri()]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture(scope="module")
def pages(tmp_path_factory, digits_run) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("runs")
    wide = {"model": {**CONFIG["model"], "widths": [8]}, "name": HOSTILE}
    runs = [write_run(folder / str(i), 0.8 + i / 100, seed=i, config=wide if i % 2 else {}).path for i in range(4)]
    return {
        "report": report_page(read_record(RunFolder(digits_run.folder))),
        "hostile": report_page(read_record(RunFolder(runs[1]))),
        "comparison": comparison_page(compare(runs)),
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["report", "hostile", "comparison"])
def test_the_script_reads_hides_and_rescales_curves_without_a_complaint(pages, tmp_path, name, dark, size):
    path = tmp_path / f"{name}.html"
    path.write_text(pages[name].replace("</body>", PROBE))
    done = chromium(path, "--dump-dom", "--virtual-time-budget=3000", dark=dark, width=SIZES[size])
    assert "CONSOLE" not in done.stderr, done.stderr
    found = json.loads(re.search(r"<output>(.*?)</output>", done.stdout)[1].replace("&amp;", "&"))
    assert found["charts"] >= 2 and found["lines"] >= 2 and found["hidden"] == found["lines"] - 1
    assert found["ticks"] and found["ticks"] != found["logTicks"]
    steps = [int(text) for read in ("readout", "before") for text in re.findall(r"^step (\d+)", found[read])]
    assert len(steps) == 2 and steps[1] < steps[0]
    assert found["overflow"] == 0  # wide tables scroll by themselves
    assert found["dark"] == dark and (found["background"] == "rgb(255, 255, 255)") != dark


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_the_page_is_drawn_in_light_and_dark(pages, tmp_path, name):
    path = tmp_path / f"{name}.html"
    path.write_text(pages[name])
    means = []
    for dark in (False, True):
        image = tmp_path / f"{dark}.png"
        chromium(path, f"--screenshot={image}", dark=dark, width=390)
        with Image.open(image) as picture:
            assert picture.size == (390, 1200)
            means.append(np.asarray(picture.convert("L")).mean())
    assert means[0] > 200 and means[1] < 90


def test_a_page_with_javascript_off_shows_its_curves_and_prints(pages, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(re.sub(r"<script>.*?</script>", "", pages["report"], flags=re.S))
    done = chromium(path, f"--print-to-pdf={tmp_path / 'out.pdf'}", "--no-pdf-header-footer", "--dump-dom")
    assert (tmp_path / "out.pdf").read_bytes().startswith(b"%PDF")
    assert "CONSOLE" not in done.stderr
