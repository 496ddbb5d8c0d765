"""A matplotlib figure as PNG: bytes for TensorBoard, a file for the report; only drawing imports matplotlib."""

import io
import struct
from pathlib import Path
from typing import Any


def png_bytes(figure: Any, *, dpi: int = 100) -> bytes:
    """Render the figure at `dpi` pixels per inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes half a second

    figure.set_dpi(dpi)
    buffer = io.BytesIO()
    # `savefig` would draw it twice, once for the layout, which a drawing begins with anyway. Without the version of
    # matplotlib in the metadata, equal figures give equal files.
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def png_size(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels, from the header of the PNG."""
    return struct.unpack(">II", data[16:24])


def save_png(figure: Any, path: Path, *, dpi: int = 100) -> None:
    """Write the figure to a file; none is left if rendering fails."""
    data = png_bytes(figure, dpi=dpi)
    Path(path).write_bytes(data)
