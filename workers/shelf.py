"""The models on the child's device: kept while they fit the budget, the least used go first."""

import gc
from collections.abc import Callable

import structlog
import torch

from models.card import ModelCard
from models.pipeline import VideoPipeline
from models.registry import create_pipeline

log = structlog.stdlib.get_logger(__name__)


class Shelf:
    """Loaded renderers within `budget_bytes`; one alone may take more, 0 keeps just one.

    What a model takes is known from its card or from an earlier load. One of unknown size is
    loaded onto an empty device, so the budget holds also on the first encounter.
    """

    def __init__(
        self,
        device: str,
        budget_bytes: int,
        create: Callable[[ModelCard], VideoPipeline] = create_pipeline,
    ) -> None:
        self._device = device
        self._budget_bytes = budget_bytes
        self._create = create
        self._models: dict[str, VideoPipeline] = {}
        self._sizes: dict[str, int] = {}

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the loaded models; the one used last comes last."""
        return tuple(self._models)

    def find(self, card: ModelCard) -> VideoPipeline | None:
        """The renderer of `card` if it is loaded; it counts as used now."""
        pipeline = self._models.pop(card.id, None)
        if pipeline is not None:
            self._models[card.id] = pipeline
        return pipeline

    def load(self, card: ModelCard) -> VideoPipeline:
        """Bring the model of `card` onto the device, after making room.

        One that does not load beside others is tried once more on an empty device.

        Raises:
            Exception: it does not load here.
        """
        size_bytes = card.memory_bytes or self._sizes.get(card.id, self._budget_bytes)
        self._evict_until(self._budget_bytes - size_bytes)
        try:
            pipeline = self._load(card)
        except Exception:
            if not self._models:
                raise
            log.warning("model_load_crowded", model=card.id, beside=self.models, exc_info=True)
            self._evict_until(0)
            pipeline = self._load(card)
        # It may have turned out larger than thought.
        size_bytes = self._sizes[card.id] = card.memory_bytes or pipeline.memory_bytes
        self._evict_until(self._budget_bytes - size_bytes)
        self._models[card.id] = pipeline
        # A collection after every batch would look at all of torch and of the models again, which
        # takes 230 ms with one small model; what stays until it is evicted is left out.
        gc.collect()
        gc.freeze()
        log.info("model_loaded", model=card.id, memory_bytes=size_bytes, kept=self.models)
        return pipeline

    def _load(self, card: ModelCard) -> VideoPipeline:
        pipeline = self._create(card)
        pipeline.load(card, self._device)
        return pipeline

    @property
    def _taken_bytes(self) -> int:
        return sum(self._sizes[name] for name in self._models)

    def _evict_until(self, limit_bytes: int) -> None:
        """Drop the least recently used until the rest takes `limit_bytes` or less."""
        while self._models and (limit_bytes <= 0 or self._taken_bytes > limit_bytes):
            name = next(iter(self._models))
            del self._models[name]
            # Modules refer to themselves in circles; their memory must be free before the load.
            gc.unfreeze()
            gc.collect()
            # Nor may torch keep it for itself: what is free on the device is looked up there.
            torch.cuda.empty_cache()
            log.info("model_evicted", model=name)
