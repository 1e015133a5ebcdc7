"""From a model card to its renderer: `"models.adapters.wan:WanAdapter"` to an instance.

Cards name classes as text, so reading the catalog loads no torch; only a worker calls this.
"""

from importlib import import_module
from typing import Any

from models.catalog import ModelCard
from models.pipeline import LoadFailed, VideoPipeline

ENHANCER = "models.enhance.pipeline:EnhancedPipeline"
"""Goes round the renderer of every card that offers enhancement."""


def create_pipeline(card: ModelCard) -> VideoPipeline:
    """The renderer of `card`, not yet loaded.

    Raises:
        LoadFailed: the module or the class does not exist here.
    """
    try:
        adapter = _find_class(card.adapter)
    except (ImportError, AttributeError) as error:
        raise LoadFailed(
            f"model {card.id}: adapter {card.adapter} is not usable: {error}"
        ) from error
    pipeline: VideoPipeline = adapter()
    if card.enhance.fps or card.enhance.upscale:
        pipeline = _find_class(ENHANCER)(pipeline)
    return pipeline


def _find_class(name: str) -> Any:  # noqa: ANN401  # whatever the card names
    module_name, _, class_name = name.partition(":")
    return getattr(import_module(module_name), class_name)
