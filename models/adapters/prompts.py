"""Prompts as the transformer reads them, kept for the next clip that says the same.

A text encoder is often the largest part of a model, and prompts repeat: negative ones nearly
always, others with another seed.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch

from models.adapters.common import tensor_bytes

Embedding = tuple[torch.Tensor, ...]
"""What one prompt becomes: embeddings and whatever goes with them, each [1, ...]."""

Key = tuple[int | None, str]
"""The length in tokens that a prompt is padded or cut to, and the prompt.

Nothing else changes an embedding: weights and precision of the encoder last as long as the cache,
LoRAs of modes are on transformers alone, and a prompt is encoded as it is whether it is wanted or
not.
"""


class PromptCache:
    """Embeddings within `max_bytes` of host memory; the least recently used go first.

    In host memory on every device, for there the encoder may wait itself, and what is found here
    must not bring it back.

    Args:
        max_bytes: 0 keeps nothing.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, Embedding] = OrderedDict()

    @property
    def num_bytes(self) -> int:
        """What is kept now."""
        return sum(tensor_bytes(kept) for kept in self._kept.values())

    def find_or_make(self, key: Key, make: Callable[[], Embedding]) -> Embedding:
        """The embedding of `key`, in host memory; only one that is not kept is made."""
        found = self._kept.pop(key, None)
        if found is None:
            found = tuple(each.cpu() for each in make())
        self._kept[key] = found
        while self._kept and self.num_bytes > self._max_bytes:
            self._kept.popitem(last=False)
        return found
