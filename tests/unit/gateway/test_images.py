"""What becomes of given pictures."""

import io
import struct

import pytest
from PIL import Image

from gateway.jobs.images import normalise_image
from gateway.settings import Limits


def fixed(value: float) -> bytes:
    """A number as profiles hold it: 16 bits before the point and behind."""
    return struct.pack(">i", round(value * 65536))


def wide_profile() -> bytes:
    """An ICC profile with the primaries of Display P3, and a gamma of 2.2."""
    white = fixed(0.9642) + fixed(1) + fixed(0.8249)
    primaries = {
        b"rXYZ": (0.5151, 0.2412, -0.0011),
        b"gXYZ": (0.2920, 0.6922, 0.0419),
        b"bXYZ": (0.1571, 0.0666, 0.7841),
    }
    gamma = b"curv" + struct.pack(">IIHH", 0, 1, round(2.2 * 256), 0)
    tags = {
        **{name: b"XYZ " + bytes(4) + b"".join(map(fixed, xyz)) for name, xyz in primaries.items()},
        b"wtpt": b"XYZ " + bytes(4) + white,
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma),
        b"desc": b"desc" + struct.pack(">II", 0, 3) + b"P3\0" + bytes(79),
        b"cprt": b"text" + bytes(8),
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + len(table) + 12 * len(tags)
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += padded
    head = struct.pack(">I4xI", start + len(body), 0x02200000) + b"mntrRGB XYZ " + bytes(12)
    return (head + b"acsp" + bytes(28) + white).ljust(128, b"\0") + table + body


def stored(image: Image.Image, profile: bytes | None = None) -> Image.Image:
    """The picture that the renderer gets for `image`, whose file brings a colour profile."""
    file = io.BytesIO()
    image.save(file, "PNG", icc_profile=profile)
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


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_those_that_the_profile_means(mode: str) -> None:
    found = stored(Image.new(mode, (32, 32), (200, 90, 60)), wide_profile())
    assert found.getpixel((5, 5)) == pytest.approx((217, 80, 45), abs=3)
    assert "icc_profile" not in found.info


def as_jpeg(exif: bytes) -> Image.Image:
    """What becomes of a picture of 32 x 48 pixels with such Exif."""
    file = io.BytesIO()
    Image.new("RGB", (32, 48)).save(file, "JPEG", exif=exif)
    png = normalise_image(file.getvalue(), Limits(), param="input_reference").png
    return Image.open(io.BytesIO(png))


def test_exif_turns_a_picture_whatever_else_it_says() -> None:
    lying = Image.Exif()
    lying[0x112] = 6
    assert as_jpeg(lying.tobytes()).size == (48, 32)
    # A width of two letters, which no writer of Exif would take back.
    odd = struct.pack("<HHI4s", 0x100, 2, 3, b"ab") + struct.pack("<HHII", 0x112, 3, 1, 6)
    assert as_jpeg(b"Exif\0\0II*\0\x08\0\0\0\x02\0" + odd + bytes(4)).size == (48, 32)


def test_a_profile_that_cannot_be_read_changes_nothing() -> None:
    found = stored(Image.new("RGB", (32, 32), (200, 90, 60)), b"no profile")
    assert found.getpixel((5, 5)) == (200, 90, 60)
