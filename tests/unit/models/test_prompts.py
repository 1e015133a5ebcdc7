"""Encoded prompts are kept within their bytes, and the ones used last stay."""

from functools import partial

import torch

from models.adapters.prompts import Embedding, PromptCache

ONE_BYTES = 40


def _asked(cache: PromptCache, *prompts: str) -> list[str]:
    """Which of `prompts`, asked for in this order, had to be encoded."""
    made: list[str] = []

    def encode(prompt: str) -> Embedding:
        made.append(prompt)
        return torch.full((1, 8), float(ord(prompt))), torch.ones(1, 1, dtype=torch.int64)

    for prompt in prompts:
        values, mask = cache.find_or_make((8, prompt), partial(encode, prompt))
        assert values.max().item() == ord(prompt)
        assert mask.item() == 1
    return made


def test_what_was_used_last_stays() -> None:
    cache = PromptCache(2 * ONE_BYTES)
    assert _asked(cache, "a", "b", "a", "b") == ["a", "b"]
    assert _asked(cache, "a", "c", "a", "b") == ["c", "b"]
    assert cache.num_bytes == 2 * ONE_BYTES


def test_one_byte_too_few_keeps_one_less() -> None:
    cache = PromptCache(2 * ONE_BYTES - 1)
    assert _asked(cache, "a", "b", "b", "a") == ["a", "b", "a"]
    assert cache.num_bytes == ONE_BYTES


def test_what_is_larger_than_the_cache_is_made_but_not_kept() -> None:
    for max_bytes in (0, ONE_BYTES - 1):
        cache = PromptCache(max_bytes)
        assert _asked(cache, "a", "a") == ["a", "a"]
        assert cache.num_bytes == 0


def test_another_length_is_another_embedding() -> None:
    cache = PromptCache(10 * ONE_BYTES)
    short = cache.find_or_make((4, "a"), lambda: (torch.zeros(1, 4),))
    long = cache.find_or_make((8, "a"), lambda: (torch.zeros(1, 8),))
    assert (short[0].shape, long[0].shape) == ((1, 4), (1, 8))
