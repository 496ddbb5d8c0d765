"""The report of one run: an HTML file with everything inside, and a model card."""

from pathlib import Path

from dltrain.errors import ConfigError
from dltrain.inference.card import counted
from dltrain.inference.record import Record, read_record
from dltrain.report.card import write_card
from dltrain.report.facts import limitations
from dltrain.report.html import details
from dltrain.report.html.curves import curves
from dltrain.report.html.figures import figures
from dltrain.report.html.page import Section, bullets, join, page, warning
from dltrain.report.html.results import evaluations, results, tiles
from dltrain.runs.files import Files
from dltrain.runs.folder import RunFolder

NAME = "report.html"


def write_report(folder: RunFolder, output: str | Path | None = None) -> tuple[Path, Path | None]:
    """Write the report of a run, and its model card into the run folder.

    Args:
        folder: the run folder.
        output: PATH.html; None for report.html of the run folder.

    Returns:
        The paths of both; None for a card that somebody has edited, which is kept.

    Raises:
        ConfigError: output does not end in .html.
        CheckpointError: a file of the run is damaged; the message names it.
        DiskError: a file cannot be written.
    """
    path = html_path(output) if output else folder.path / NAME
    record = read_record(folder)
    text = report_page(record)
    if output:
        Files(path.parent).replace_text(path.name, text)
    else:
        folder.files.replace_text(NAME, text)
    return path, write_card(record)


def html_path(output: str | Path) -> Path:
    """Return where to write a page."""
    path = Path(output).expanduser()
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"output={output}: must end in .html")
    return path


def report_page(record: Record) -> str:
    """Return the report of a run as HTML."""
    sections = [
        Section("Results", join(results(record), evaluations(record))),
        Section("Curves", curves(record)),
        Section("Limitations", bullets(limitations(record))),
        Section("Figures", figures(record)),
        Section("Data", details.data(record)),
        Section("Model and training", details.model(record)),
        Section("Config", details.config(record)),
        Section("Environment", details.environment(record)),
        Section("Reproduce", details.reproduce(record)),
    ]
    return page(record.title, _subtitle(record), join(warning(record.notes), tiles(record)), sections)


def _subtitle(record: Record) -> str:
    """Say in one line what was trained on which data."""
    chosen = record.choices
    model, size = chosen.get("model", "a model"), record.summary.get("parameters")
    large = f" with {size:,} parameters" if size else ""
    examples = counted(record.data.get("examples", {}))
    ended = record.summary.get("stop_reason", "not finished")
    seconds = f" after {record.summary['seconds']:,.1f} s" if "seconds" in record.summary else ""
    return f"{model}{large}, trained on {record.data_name}{f' ({examples})' if examples else ''}; {ended}{seconds}"
