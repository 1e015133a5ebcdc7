"""The networks that enhance, and the published files that hold their weights."""

from typing import NamedTuple

from models.assets import AssetMissing, asset_path
from models.enhance.interpolate import Interpolator, load_interpolator
from models.enhance.upscale import Compact, Dense, Upscaler, load_upscaler
from models.pipeline import LoadFailed

INTERPOLATOR = "enhance/rife.pkl"


class UpscalerFiles(NamedTuple):
    """A network and its assets. The published 2x and 3x models hold the weights of the 4x one."""

    network: type[Compact | Dense]
    param: str
    weights: str


UPSCALERS = {
    "compact": UpscalerFiles(
        Compact, "enhance/realesr-animevideov3-x4.param", "enhance/realesr-animevideov3-x4.bin"
    ),
    "dense": UpscalerFiles(
        Dense, "enhance/realesrgan-x4plus.param", "enhance/realesrgan-x4plus.bin"
    ),
}


def open_interpolator(device: str) -> Interpolator:
    """The interpolator on `device`.

    Raises:
        LoadFailed: its file has not been fetched.
    """
    try:
        return load_interpolator(asset_path(INTERPOLATOR), device)
    except AssetMissing as error:
        raise LoadFailed(str(error)) from error


def open_upscaler(name: str, scale: int, device: str) -> Upscaler:
    """The upscaler `name` of `UPSCALERS` on `device`.

    Raises:
        LoadFailed: its files have not been fetched.
    """
    network, param, weights = UPSCALERS[name]
    try:
        files = asset_path(param), asset_path(weights)
    except AssetMissing as error:
        raise LoadFailed(str(error)) from error
    return load_upscaler(network, *files, scale=scale, device=device)
