"""What becomes of given pictures."""

import io

from PIL import Image

from gateway.jobs.images import normalise_image
from gateway.settings import Limits


def stored(image: Image.Image) -> Image.Image:
    """The picture that the renderer gets for `image`."""
    file = io.BytesIO()
    image.save(file, "PNG")
    normalised = normalise_image(file.getvalue(), Limits(), param="input_reference")
    return Image.open(io.BytesIO(normalised.png))


def test_sixteen_bits_of_grey_become_eight() -> None:
    image = Image.new("I;16", (32, 32))
    for row in range(32):
        for column in range(32):
            image.putpixel((column, row), 65535 * column // 31)
    ramp = [stored(image).getpixel((column, 7)) for column in (0, 15, 31)]
    assert ramp == [(0, 0, 0), (123, 123, 123), (255, 255, 255)]


def test_what_is_transparent_lies_on_white() -> None:
    image = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    image.paste((255, 0, 0, 255), (16, 0, 32, 32))
    found = stored(image)
    assert (found.getpixel((0, 0)), found.getpixel((31, 0))) == ((255, 255, 255), (255, 0, 0))


def test_a_long_side_is_made_to_fit() -> None:
    limits = Limits()
    assert stored(Image.new("RGB", (2 * limits.max_image_side, 64))).size == (
        limits.max_image_side,
        32,
    )
