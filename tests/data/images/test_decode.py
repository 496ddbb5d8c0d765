"""One image: every mode of Pillow becomes the same uint8 array, and damage has a name."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile
from tiny_images import encoded, pixels

from dltrain.data.images.decode import MOST_PIXELS, Resize, decode
from dltrain.errors import DataError

RGB, GREY = pixels(), pixels(channels=1)
RGBA = np.concatenate([RGB, np.uint8(np.arange(64).reshape(8, 8, 1) * 4)], 2)
DEEP = np.random.default_rng(1).integers(0, 65536, (8, 8)).astype(np.uint16)


def get(data, **changes):
    return decode(data, **{"size": 8, "resize": Resize.CROP, "channels": 3} | changes)


def over_white(rgba):
    alpha = rgba[..., 3:].astype(float) / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


def luma(rgb):
    return rgb.astype(float) @ [0.299, 0.587, 0.114]


def grey3(array):
    return np.repeat(array[..., None], 3, 2)


PALETTE = Image.fromarray(RGB).quantize(64)

CASES = {
    "png": (encoded(RGB), {}, RGB, 0),
    "bmp": (encoded(RGB, "BMP"), {}, RGB, 0),
    "webp": (encoded(RGB, "WEBP", lossless=True), {}, RGB, 0),
    "gif, first frame": (
        encoded(PALETTE, "GIF", save_all=True, append_images=[Image.new("P", (8, 8))]),
        {},
        np.array(PALETTE.convert("RGB")),
        0,
    ),
    "palette": (encoded(PALETTE), {}, np.array(PALETTE.convert("RGB")), 0),
    "grey": (encoded(GREY), {}, grey3(GREY), 0),
    "grey to one channel": (encoded(GREY), {"channels": 1}, GREY[..., None], 0),
    "colour to one channel": (encoded(RGB), {"channels": 1}, luma(RGB)[..., None], 1),
    "bilevel": (encoded(Image.fromarray(GREY).convert("1")), {"channels": 1}, None, 0),
    "16 bit": (encoded(DEEP), {"channels": 1}, np.round(DEEP / 257)[..., None], 0),
    "16 bit to colour": (encoded(DEEP), {}, grey3(np.round(DEEP / 257)), 0),
    "alpha over white": (encoded(RGBA), {}, over_white(RGBA), 1),
    "alpha kept": (encoded(RGBA), {"channels": 4}, RGBA, 0),
    "no alpha to four channels": (encoded(RGB), {"channels": 4}, np.dstack([RGB, np.full((8, 8), 255)]), 0),
    "grey with alpha": (
        encoded(Image.fromarray(RGBA).convert("LA")),
        {"channels": 1},
        over_white(np.dstack([grey3(np.round(luma(RGB))), RGBA[..., 3]]))[..., :1],
        1,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_image_becomes_the_same_array(case):
    data, changes, expected, tolerance = CASES[case]
    found = get(data, **changes)
    assert found.dtype == np.uint8
    if expected is None:
        expected = np.array(Image.fromarray(GREY).convert("1")).astype(np.uint8)[..., None] * 255
    assert np.abs(found.astype(float) - expected).max() <= tolerance


def test_a_jpeg_is_close_to_what_was_encoded():
    smooth = np.uint8(np.add.outer(np.arange(8) * 16, np.arange(8) * 8))
    assert np.abs(get(encoded(smooth, "JPEG", quality=98), channels=1)[..., 0].astype(int) - smooth).max() <= 3


def test_cmyk_jpegs_are_colour_images():
    red = Image.new("RGB", (8, 8), (200, 30, 30)).convert("CMYK")
    assert np.abs(get(encoded(red, "JPEG"))[4, 4].astype(int) - [200, 30, 30]).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_image(orientation):
    turned = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.swapaxes(0, 1),
        6: np.rot90(RGB, -1),
        7: np.rot90(RGB, 2).swapaxes(0, 1),
        8: np.rot90(RGB, 1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(get(encoded(RGB, exif=exif)), turned)


WIDE = np.repeat(np.repeat(pixels(4, 8, seed=3), 4, 0), 4, 1)  # 16x32, blocks of 4x4


def blocks(array):
    return array.reshape(array.shape[0] // 4, 4, array.shape[1] // 4, 4, 3)[:, 0, :, 0]


def test_crop_takes_the_largest_square_in_the_middle():
    np.testing.assert_array_equal(get(encoded(WIDE), size=16), WIDE[:, 8:24])


def test_stretch_and_pad_keep_the_whole_image():
    stretched = get(encoded(WIDE), size=16, resize=Resize.STRETCH)
    expected = WIDE.reshape(16, 16, 2, 3)
    assert stretched.shape == (16, 16, 3)
    inside = np.abs(stretched.astype(float) - expected.mean(2))[:, 1::2]  # two equal columns in a block of four
    assert np.median(inside) < 40
    padded = get(encoded(WIDE), size=32, resize=Resize.PAD)
    np.testing.assert_array_equal(padded[8:24], WIDE)
    assert not padded[:8].any() and not padded[24:].any()


def test_a_constant_image_stays_constant_whatever_its_size():
    for height, width in ((1, 1), (1, 500), (300, 7)):
        data = encoded(np.full((height, width, 3), 77, np.uint8))
        for resize in (Resize.CROP, Resize.STRETCH):
            np.testing.assert_array_equal(get(data, resize=resize), 77)


def test_large_jpegs_are_decoded_at_a_part_of_their_size_to_nearly_the_same():
    ramp = np.uint8(np.add.outer(np.arange(512) // 4, np.arange(512) // 4))
    found = get(encoded(ramp, "JPEG", quality=95), size=16, channels=1)[..., 0]
    expected = ramp.reshape(16, 32, 16, 32).mean((1, 3))
    assert np.abs(found[1:-1, 1:-1] - expected[1:-1, 1:-1]).max() <= 3


def header(width, height) -> bytes:
    """A PNG that only claims to have this size."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = b"IDAT" + zlib.compress(b"")
    return start + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


def cut(data, part=0.6) -> bytes:
    return data[: int(len(data) * part)]


def broken(data, at) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


JPEG = encoded(pixels(64, 64), "JPEG", quality=90)
FAULTS = {
    "an empty file": (b"", "is empty"),
    "zeros": (bytes(100), "is not a JPEG, PNG, BMP, WEBP or GIF image"),
    "text": (b"hello, world", "is not a JPEG"),
    "an HTML page": (b"<html><body>404</body></html>", "it is an SVG, HTML or XML text"),
    "an SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "it is an SVG, HTML or XML text"),
    "a TIFF": (encoded(RGB, "TIFF"), "it is a TIFF, convert it"),
    "a HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0", "it is a HEIC, convert it"),
    "a PDF": (b"%PDF-1.7\n%\xe2\xe3", "is not a JPEG"),
    "a JPEG's first bytes": (JPEG[:3], "the header of the JPEG is damaged"),
    "a PNG's first bytes": (encoded(RGB)[:8], "the header of the PNG is damaged"),
    "a truncated JPEG": (cut(JPEG), "is damaged (image file is truncated"),
    "a truncated PNG": (cut(encoded(pixels(64, 64))), "is damaged"),
    "a truncated BMP": (cut(encoded(RGB, "BMP")), "is damaged"),
    "a truncated WebP": (cut(encoded(pixels(64, 64), "WEBP")), "WEBP or GIF image"),
    "a truncated GIF": (cut(encoded(PALETTE, "GIF"), 0.97), "is damaged"),
    "a PNG with a wrong checksum": (broken(encoded(RGB), 20), "is not a JPEG"),
    "a PNG with damaged data": (broken(encoded(pixels(64, 64)), 400), "is damaged"),
    "a bomb": (header(60_000, 60_000), f"has more than {MOST_PIXELS:,} pixels"),
    "a smaller bomb": (header(10_000, 9_000), "has 10,000 x 9,000 pixels, more than 80,000,000"),
    "a header of 2^31 x 2^31 pixels": (header(2**31 - 1, 2**31 - 1), f"has more than {MOST_PIXELS:,} pixels"),
    "no pixels": (header(0, 5), "is "),
    "a PNG without its data": (header(8, 8), "is damaged"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_image_is_refused_and_says_why(fault):
    data, why = FAULTS[fault]
    with pytest.raises(DataError) as caught:
        get(data)
    assert why in str(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_from_its_header(monkeypatch):
    def never(*args, **options):
        raise AssertionError("decoded")

    small = encoded(RGB)
    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    with pytest.raises(DataError, match="more than"):
        get(header(10_000, 9_000))
    with pytest.raises(DataError, match="decoded"):  # what is small enough would be
        get(small)


def test_any_single_changed_byte_gives_an_image_or_a_data_error():
    for data in (encoded(PALETTE, "GIF"), *(encoded(RGB, form) for form in ("PNG", "BMP", "JPEG", "WEBP"))):
        for at in range(0, len(data), max(1, len(data) // 60)):
            try:
                assert get(broken(data, at)).shape == (8, 8, 3)
            except DataError as error:
                assert str(error).startswith(("is ", "has "))


def test_trailing_bytes_do_not_matter():
    stream = io.BytesIO(encoded(RGB) + b"more")
    np.testing.assert_array_equal(get(stream.getvalue()), RGB)
