"""What a user sets for images that a table names."""

from dataclasses import dataclass
from typing import Annotated

from dltrain.data.images.decode import Resize, check_channels
from dltrain.ranges import Range


@dataclass(frozen=True)
class ImageOptions:
    """What the user sets for the images that columns of a table name; `dltrain.data.images.decode` states the rule.

    Attributes:
        folder: the folder that names are relative to; None: that of the table.
        size: height and width of an image.
        resize: how one of other proportions becomes a square: crop, pad or stretch.
        channels: 1 (grey), 3 (colour) or 4 (with transparency).
    """

    folder: str | None = None
    size: Annotated[int, Range(1, 4096)] = 64
    resize: Resize = Resize.CROP
    channels: Annotated[int, Range(1, 4)] = 3

    def __post_init__(self) -> None:
        """Refuse a number of channels that no image has."""
        check_channels(self.channels, "image.channels")
