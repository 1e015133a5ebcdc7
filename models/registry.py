"""From a model card to its renderer: `"models.adapters.wan:WanAdapter"` to an instance.

Cards name classes as text, so reading the catalog loads no torch; only a worker calls this.
"""

from importlib import import_module

from models.catalog import ModelCard
from models.pipeline import LoadFailed, VideoPipeline


def create_pipeline(card: ModelCard) -> VideoPipeline:
    """The renderer of `card`, not yet loaded.

    Raises:
        LoadFailed: the module or the class does not exist here.
    """
    module_name, _, class_name = card.adapter.partition(":")
    try:
        adapter: type[VideoPipeline] = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise LoadFailed(
            f"model {card.id}: adapter {card.adapter} is not usable: {error}"
        ) from error
    return adapter()
