"""Given pictures: sniffed, bounded, decoded whole, and written anew as PNG.

What is stored is our own file, so nothing hidden in the client's reaches a renderer, and a
broken picture is refused before any point is held.
"""

import hashlib
import io
import threading
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from gateway.domain.errors import InvalidImage
from gateway.settings import Limits

FORMATS = ("JPEG", "PNG", "WEBP")
MIN_SIDE = 16
CONTENT_TYPE = "image/png"
# A picture of the most pixels takes most of a gigabyte while it is decoded, however small its file.
_DECODING = threading.BoundedSemaphore(2)
# What Exif says of the first row and column, as the turn that puts them right.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class NormalisedImage:
    """An RGB picture, upright, as a PNG file in memory."""

    png: bytes
    sha256: str
    width: int
    height: int


def normalise_image(data: bytes, limits: Limits, *, param: str) -> NormalisedImage:
    """Decode `data` and write it as PNG, no side longer than `limits.max_image_side`.

    Raises:
        InvalidImage: it is too heavy, too large, too small, broken, or no JPEG, PNG or WebP.
    """
    if len(data) > limits.max_image_bytes:
        raise InvalidImage(
            f"{param} has {len(data)} bytes, {limits.max_image_bytes} are allowed",
            param=param,
            limit=limits.max_image_bytes,
            value=len(data),
        )
    # The header tells the size before a pixel is decoded, and we bound it ourselves, below.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with _DECODING, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.width, image.height, limits, param)
            image.load()
            upright = _on_white(_in_srgb(_turned(image)))
    except UnidentifiedImageError:
        raise InvalidImage(
            f"{param} is not a picture we can read", param=param, limit=list(FORMATS), value=None
        ) from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InvalidImage(
            f"{param} is broken: {error}", param=param, limit="a whole file", value=len(data)
        ) from None
    upright.thumbnail((limits.max_image_side, limits.max_image_side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    upright.save(file, "PNG", icc_profile=None)
    png = file.getvalue()
    return NormalisedImage(png, hashlib.sha256(png).hexdigest(), upright.width, upright.height)


def _check_size(width: int, height: int, limits: Limits, param: str) -> None:
    if width * height > limits.max_image_pixels:
        raise InvalidImage(
            f"{param} has {width} x {height} pixels, {limits.max_image_pixels} are allowed in all",
            param=param,
            limit=limits.max_image_pixels,
            value=width * height,
        )
    most = limits.max_image_side
    short_side = min(width, height) * most // max(width, height, most)
    if short_side < MIN_SIDE:
        raise InvalidImage(
            f"{param} has {width} x {height} pixels; fitted into {most}, its short side has "
            f"{short_side}, it needs {MIN_SIDE}",
            param=param,
            limit=MIN_SIDE,
            value=short_side,
        )


def _turned(image: Image.Image) -> Image.Image:
    """Upright. `ImageOps.exif_transpose` writes all of Exif anew, and falls over odd entries."""
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _in_srgb(image: Image.Image) -> Image.Image:
    """The colours that the picture's own profile means, where it has one that can be read."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        turned = ImageCms.profileToProfile(
            image, given, ImageCms.createProfile("sRGB"), outputMode=mode
        )
    except (ImageCms.PyCMSError, OSError):
        return image
    return turned or image


def _on_white(image: Image.Image) -> Image.Image:
    """RGB; what is transparent lies on white, as a page would show it."""
    if image.mode == "RGB":
        return image.copy()
    if image.mode.startswith("I"):
        # 16 bits of grey, which a conversion would cut off at 255.
        return image.point(lambda grey: grey * (1 / 256)).convert("RGB")
    rgba = image.convert("RGBA")
    page = Image.new("RGBA", rgba.size, "white")
    page.alpha_composite(rgba)
    return page.convert("RGB")
