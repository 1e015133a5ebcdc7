"""From a model card to its renderer: `wan`, or `package.module:Class`, to an instance.

Cards name renderers as text, so reading the catalog loads no torch; only a worker calls this.
Other packages bring renderers under a name of theirs through the entry-point group
`reelgate.adapters`; they cannot take a name of ours.
"""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from models.card import ModelCard
from models.pipeline import LoadFailed, VideoPipeline
from models.weights import find_problem

PLUGIN_GROUP = "reelgate.adapters"
OWN_ADAPTERS = {
    "avatar": "models.avatar.pipeline:AvatarPipeline",
    "cogvideox": "models.adapters.cogvideox:CogVideoXAdapter",
    "hunyuan15": "models.adapters.hunyuan15:HunyuanVideo15Adapter",
    "ltx2": "models.adapters.ltx2:LTX2Adapter",
    "parallel": "models.adapters.parallel:ContextParallel",
    "remote": "models.adapters.remote:RemoteAdapter",
    "skyreels": "models.adapters.skyreels:SkyReelsAdapter",
    "wan": "models.adapters.wan:WanAdapter",
}

ENHANCER = "models.enhance.pipeline:enhanced"
"""Goes round the renderer of every card that offers enhancement."""


def create_pipeline(card: ModelCard) -> VideoPipeline:
    """The renderer of `card`, not yet loaded.

    Raises:
        LoadFailed: no installed package has it, it cannot be imported here, or its weights have
            not been pulled.
    """
    if (problem := find_problem(card)) is not None:
        raise LoadFailed(f"model {card.id}: {problem}")
    target = _find_target(card)
    try:
        adapter = _find_class(target)
    except (ImportError, AttributeError) as error:
        raise LoadFailed(
            f"model {card.id}: adapter {card.adapter} is not usable: {error}"
        ) from error
    pipeline: VideoPipeline = adapter()
    if card.enhance.fps or card.enhance.upscale:
        pipeline = _find_class(ENHANCER)(pipeline)
    return pipeline


def _find_target(card: ModelCard) -> str:
    if ":" in card.adapter:
        return card.adapter
    brought = {point.name: point.value for point in entry_points(group=PLUGIN_GROUP)}
    known = brought | OWN_ADAPTERS
    if card.adapter not in known:
        raise LoadFailed(
            f"model {card.id}: no adapter {card.adapter} is installed; "
            f"there are {', '.join(sorted(known))}, or write module:Class"
        )
    return known[card.adapter]


def _find_class(name: str) -> Any:  # noqa: ANN401  # whatever the card names
    module_name, _, class_name = name.partition(":")
    return getattr(import_module(module_name), class_name)
