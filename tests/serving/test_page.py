"""The page, in Chromium without a window: fill in a row, draw a digit, choose an image, read the prediction."""

import math

import numpy as np
import pytest
from chromium import PROGRAM, browser
from http_client import ask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed: apt-get install chromium"),
]

WIDTHS = (390, 1280)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def opened(page, request):
    """`opened(url, width)`: the page of a server, ready; afterwards there must be no error in the console."""

    def show(url: str, width: int):
        page.size(width, dark=width < 600)
        page.open(url)
        page.wait("!document.getElementById('inputs').hidden")
        return page

    yield show
    problems, page.problems = page.problems, []
    assert not problems


def answer(page) -> tuple[str, dict[str, float]]:
    """Return the class and the shares that the page shows."""
    page.wait("!document.getElementById('answer').hidden && !document.getElementById('ask').disabled")
    bars = page.value("[...document.querySelectorAll('.bar')].map(b => [...b.children].map(c => c.textContent))")
    shares = {name: float(share.removesuffix(" %")) / 100 for name, _, share in bars}
    return page.value("document.getElementById('result').textContent"), shares


@pytest.mark.parametrize("width", WIDTHS)
def test_a_row_is_filled_in(opened, table_url, table, width, folder_of):
    page = opened(table_url, width)
    labels = page.value(
        "[...document.querySelectorAll('label')].filter(l => l.htmlFor != 'token').map(l => l.textContent)"
    )
    assert labels == ["rooms", "sold", "city", "about", "photo"]
    page.type("#field-0", "2")
    page.type("#field-1", "2021-03-04")
    page.value("document.querySelector('#field-2').value = 'Rome'")
    page.type("#field-3", "a large flat, größer")
    page.choose("#field-4", folder_of / "1.png")
    page.click("#ask")
    name, shares = answer(page)
    row = {
        "rooms": 2,
        "sold": "2021-03-04",
        "city": "Rome",
        "about": "a large flat, größer",
        "photo": str(folder_of / "1.png"),
    }
    found = table.predict([row])
    wanted = dict(zip(table.spec.classes, found["probabilities"][0].tolist(), strict=True))
    assert name == table.spec.classes[found["class"][0]] and list(shares) == sorted(wanted, key=wanted.get)[::-1]
    assert all(math.isclose(shares[k], wanted[k], abs_tol=6e-4) for k in wanted)
    assert not page.overflows
    page.click("#clear")
    assert page.value("document.getElementById('answer').hidden && document.querySelector('#field-0').value === ''")


def test_a_wrong_value_is_explained(opened, table_url, page):
    opened(table_url, 390)
    page.type("#field-0", "three")
    page.click("#ask")
    assert "rooms" in page.wait("document.getElementById('problem').textContent")
    assert page.value("document.getElementById('answer').hidden")
    assert all("400" in problem for problem in page.problems)  # Chromium notes each answer that is an error
    page.problems.clear()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_digit_is_drawn(opened, digits_url, digits, width):
    page = opened(digits_url, width)
    box = page.box("canvas")
    corner, unit = np.array([box["x"], box["y"]]), box["width"] / 280
    angles = np.linspace(0, 2 * math.pi, 15)
    ring = np.stack([140 + 50 * np.sin(angles), 150 - 90 * np.cos(angles)], 1)
    page.drag([tuple(corner + unit * point) for point in ring])
    name, shares = answer(page)
    assert (
        name in digits.spec.classes and name == max(shares, key=shares.get) and abs(sum(shares.values()) - 1) < 0.01
    )
    pixels = page.value(
        "centred(document.querySelector('canvas'), 8).then(createImageBitmap).then(image => {"
        "const c = document.createElement('canvas'); c.width = c.height = 8; const p = c.getContext('2d');"
        "p.drawImage(image, 0, 0); return [...p.getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 == 0); })"
    )
    drawn = np.array(pixels, float).reshape(8, 8)
    assert drawn[:, 0].max() < 100 < drawn[0, 2:6].max() and drawn[3:5, 3:5].max() < 60 < drawn[3, :3].max()
    scaled = np.rint(drawn[None, ..., None] * digits.bundle.encoder.brightest / 255).astype(np.uint8)
    assert name == digits.spec.classes[digits.predict(scaled)["class"][0]]
    assert not page.overflows


@pytest.mark.parametrize("width", WIDTHS)
def test_an_image_is_chosen(opened, digits_url, digits, width, image, tmp_path):
    page = opened(digits_url, width)
    (tmp_path / "an image.png").write_bytes(image)
    page.choose("input[type=file]", tmp_path / "an image.png")
    name, _ = answer(page)
    assert name == digits.predict([image]).columns["class"][0]
    assert page.value("document.querySelector('.drop img').naturalWidth") == 30 and not page.overflows


def test_the_page_asks_for_the_token(opened, page, digits_model, serve_it):
    with serve_it(digits_model, token="geheim") as url:
        page.size(390)
        page.open(url)
        page.wait("!document.getElementById('access').hidden")
        assert "classification" not in page.value("document.body.innerText")
        page.type("#token", "geheim")
        page.click("#access button")
        page.wait("!document.getElementById('inputs').hidden && document.getElementById('access').hidden")
        page.value("sessionStorage.clear()")


def test_the_page_needs_no_other_server(digits_url):
    for path in ("/", "/page.js", "/page.css"):
        text = ask(digits_url, path).body.decode()
        addresses = text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in addresses and "https://" not in addresses and "//cdn" not in addresses
