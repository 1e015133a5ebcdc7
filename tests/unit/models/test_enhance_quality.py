"""How good the published networks are, on pictures drawn by code, against the plain methods.

What the upscaler is made for is drawings with hard edges, small and stored badly. Smooth pictures
it makes crisper than they were, which costs it the comparison: no test says otherwise.
"""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from models.enhance.interpolate import Interpolator
from models.enhance.networks import open_interpolator, open_upscaler
from models.enhance.upscale import upscale
from models.pipeline import Frame
from tests.support.portrait import draw_portrait
from tests.support.weights import has_enhance_weights

SIDE = 128
MIN_OVER_BLENDING_DB = 10.0
MIN_OVER_BICUBIC_DB = 1.5


pytestmark = pytest.mark.skipif(
    not has_enhance_weights(), reason="reelgate assets fetch was not run"
)


@pytest.fixture(scope="module")
def interpolator() -> Interpolator:
    """The published one."""
    return open_interpolator("cpu")


def psnr_db(seen: Frame, true: Frame) -> float:
    """Peak signal over noise; 20 is poor, 50 can hardly be told apart."""
    return float(10 * np.log10(255**2 / np.mean((seen.astype(float) - true) ** 2)))


def moved(time: float, shift: tuple[float, float], degrees: float) -> Frame:
    """The middle of the portrait on its way, the time being -1/2 to 1/2."""
    picture = draw_portrait(SIDE * 2)
    turn = cv2.getRotationMatrix2D((SIDE, SIDE), degrees * time, 1)
    turn[:, 2] += np.multiply(shift, time)
    whole = cv2.warpAffine(
        picture, turn, (SIDE * 2, SIDE * 2), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    half = SIDE // 2
    return np.ascontiguousarray(whole[half:-half, half:-half]).astype(np.uint8)


@pytest.mark.parametrize(
    ("shift", "degrees"), [((6.0, 3.0), 0.0), ((0.0, 0.0), 6.0), ((8.0, -3.0), 4.0)]
)
@pytest.mark.parametrize("time", [Fraction(1, 2), Fraction(1, 4)])
def test_a_moving_picture_is_interpolated_far_better_than_by_blending(
    interpolator: Interpolator, shift: tuple[float, float], degrees: float, time: Fraction
) -> None:
    first, second = (moved(at, shift, degrees) for at in (-0.5, 0.5))
    true = moved(float(time) - 0.5, shift, degrees)
    blended = (first * (1 - float(time)) + second * float(time)).round().astype(np.uint8)
    ours = psnr_db(interpolator.between(first, second, time), true)
    assert ours - psnr_db(blended, true) > MIN_OVER_BLENDING_DB
    assert ours > 38


def drawing(side: int) -> Frame:
    """Discs and strokes with black outlines."""
    draw = np.random.default_rng(3)
    large = side * 4
    picture = np.full((large, large, 3), 245, np.uint8)
    for _ in range(14):
        red, green, blue = (int(value) for value in draw.integers(20, 230, 3))
        x, y = (int(value) for value in draw.integers(0, large, 2))
        radius = int(draw.integers(side // 4, side))
        cv2.circle(picture, (x, y), radius, (red, green, blue), -1, cv2.LINE_AA)
        cv2.circle(picture, (x, y), radius, (20, 20, 20), side // 24, cv2.LINE_AA)
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)


def stored_badly(frame: Frame) -> Frame:
    """With noise, then as a small JPEG."""
    noise = np.random.default_rng(0).normal(0, 8, frame.shape)
    noisy = (frame + noise).clip(0, 255).astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 40])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("is_stored_badly", [False, True])
def test_a_drawing_is_upscaled_better_than_by_a_bicubic_filter(
    scale: int, *, is_stored_badly: bool
) -> None:
    true = drawing(256)
    side = 256 // scale
    small: Frame = cv2.resize(true, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
    if is_stored_badly:
        small = stored_badly(small)
    bicubic = cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    ours = upscale(open_upscaler("compact", scale, "cpu"), small)
    assert ours.shape == true.shape
    assert psnr_db(ours, true) - psnr_db(bicubic, true) > MIN_OVER_BICUBIC_DB


@pytest.mark.slow
def test_the_large_network_keeps_edges_hard_and_leaves_no_seam() -> None:
    true = draw_portrait(448)[160:224]
    small = cv2.resize(true, (112, 16), interpolation=cv2.INTER_AREA).astype(np.uint8)
    bicubic = cv2.resize(small, (448, 64), interpolation=cv2.INTER_CUBIC)
    model = open_upscaler("dense", 4, "cpu")
    whole = upscale(model, small)
    assert psnr_db(whole, true) > 24
    hardest = [np.abs(np.diff(each.astype(float), axis=1)).max() for each in (whole, bicubic)]
    assert hardest[0] > 1.3 * hardest[1]
    tiled = upscale(model, small, tile=56)
    assert np.abs(whole.astype(int) - tiled).max() <= 2
