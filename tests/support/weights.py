"""Whether the published weights that enhance are on this machine."""

from models.assets import AssetMissing, asset_path
from models.assets.manifest import FILES


def has_enhance_weights() -> bool:
    """Whether `reelgate assets fetch` brought all of them."""
    try:
        for name in FILES:
            if name.startswith("enhance/"):
                asset_path(name)
    except AssetMissing:
        return False
    return True
