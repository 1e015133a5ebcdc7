"""The text encoder learns what captions name; the transformer is asked what covers its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from models.tiny.config import TEXT_WIDTH, build_text_encoder, build_transformer
from models.tiny.data import COLOURS, SHAPES, Combination, Thing
from models.tiny.render import draw_covers, render
from models.tiny.scene_head import SceneHead
from models.tiny.scenes import draw_scene
from models.tiny.slots import SLOTS, fill_slots
from models.tiny.texts import embed, tokenize
from models.tiny.tokenizer import build_tokenizer
from models.tiny.tracks import Stage
from models.tiny.train_text import SlotReader, train_text
from models.tiny.training import Draws
from tests.support.tiny import BUDGET, SAVING_BUDGET, CutError, assert_same_weights, cut_after

if TYPE_CHECKING:
    from pathlib import Path

    from models.tiny.untyped import TextEncoder

ONE = Combination((Thing("red", "star", "up"),), "navy")
TWO = Combination(
    (Thing("lime", "ring", "right"), Thing("blue", "moon", "still")), "white", "above"
)


def small_text_encoder() -> TextEncoder:
    """Builds the same untrained text encoder every time."""
    torch.manual_seed(0)
    return build_text_encoder(len(build_tokenizer()), num_layers=1)


def test_slots_hold_a_word_each_or_none() -> None:
    one, two = fill_slots(ONE), fill_slots(TWO)
    assert [SLOTS[slot][word] for slot, word in enumerate(two)] == [
        "lime", "ring", "right", "blue", "moon", "still", "white", "above",
    ]  # fmt: skip
    is_none = [word == len(SLOTS[slot]) for slot, word in enumerate(one)]
    assert is_none == [False, False, False, True, True, True, False, True]


def test_texts_are_zero_behind_their_end_and_have_a_pad_each() -> None:
    tokens = tokenize(["a red circle", "", "x " * 400], build_tokenizer())
    assert (tokens.attention_mask[:, -1] == 0).all()
    text = embed(tokens, small_text_encoder())
    assert text.shape == (*tokens.ids.shape, TEXT_WIDTH)
    assert (text[tokens.attention_mask == 0] == 0).all()
    assert (text[tokens.attention_mask == 1].abs().amax(1) > 0).all()


def test_a_resumed_text_run_ends_bit_equal_and_has_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.tiny.train_text.BATCH_SIZE", 8)
    tokenizer = build_tokenizer()
    straight, cut, resumed = (small_text_encoder() for _ in range(3))
    torch.manual_seed(0)
    train_text(straight, tokenizer, tmp_path / "a" / "text.pt", BUDGET, seed=0)
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        cut_after(2, patch)
        with pytest.raises(CutError):
            train_text(cut, tokenizer, tmp_path / "b" / "text.pt", SAVING_BUDGET, seed=0)
    torch.manual_seed(1)
    train_text(resumed, tokenizer, tmp_path / "b" / "text.pt", BUDGET, seed=0)
    assert_same_weights(straight, resumed)
    assert not torch.equal(straight.shared.weight, small_text_encoder().shared.weight)
    assert (tmp_path / "a" / "text_encoder" / "config.json").exists()


def test_a_reader_looks_at_text_alone() -> None:
    torch.manual_seed(0)
    reader = SlotReader()
    text, mask = torch.randn(1, 4, TEXT_WIDTH), torch.tensor([[1, 1, 0, 0]])
    before = reader.read(text, mask)
    text[:, 2:] = 7
    for one, other in zip(before, reader.read(text, mask), strict=True):
        torch.testing.assert_close(one, other)


def test_covers_are_the_shares_of_pixels_that_things_change() -> None:
    stage = Stage(96, 64, 9)
    scenes = [draw_scene(each, stage, Draws(3, row).rng) for row, each in enumerate((ONE, TWO))]
    covers = draw_covers(scenes)
    assert covers.shape == (2, 2, 3, 2, 3)
    assert covers[0, 1].max() == 0, "there is no second thing"
    assert (covers[1].flatten(2).amax(2) > 0.05).all()
    clips = render(scenes)
    for row in range(2):
        # The corner of a plain background is bare.
        is_thing = (clips[row] - clips[row, :, :1, :1, :1]).abs().amax(0) > 0.3
        first = is_thing[0].float().view(2, 32, 3, 32).mean((1, 3))
        torch.testing.assert_close(covers[row, :, 0].sum(0), first, atol=0.05, rtol=0)
        later = is_thing[5:].float().view(4, 2, 32, 3, 32).mean((0, 2, 4))
        torch.testing.assert_close(covers[row, :, 2].sum(0), later, atol=0.05, rtol=0)


def test_the_scene_head_is_right_only_about_what_it_was_shown() -> None:
    """Hidden states that say the scene outright are learnt in a few steps; then a lie costs."""
    torch.manual_seed(0)
    transformer = build_transformer(num_layers=3, num_attention_heads=2)
    head = SceneHead(transformer)
    covers = torch.zeros(2, 2, 1, 1, 2)
    covers[0, 0, 0, 0, 0] = covers[1, 0, 0, 0, 0] = covers[1, 1, 0, 0, 1] = 0.9
    slots = torch.tensor([fill_slots(ONE), fill_slots(TWO)])
    is_picture = torch.zeros(2, dtype=torch.bool)
    hidden = torch.randn(2, 2, 64)
    optimizer = torch.optim.Adam(head.parameters(), 0.05)

    def loss_of(told: torch.Tensor) -> torch.Tensor:
        head._listen(transformer, None, hidden)
        return head.loss(covers, told, is_picture)

    first = loss_of(slots).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss_of(slots).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    learnt = loss_of(slots).item()
    lie = slots.clone()
    lie[0, :2] = torch.tensor([list(COLOURS).index("pink"), SHAPES.index("heart")])
    assert learnt < 0.5 * first
    assert loss_of(lie).item() > 2 * learnt
    with pytest.raises(RuntimeError, match="has not run"):
        head.loss(covers, slots, is_picture)


def test_the_scene_head_listens_until_it_is_closed() -> None:
    torch.manual_seed(0)
    transformer = build_transformer(num_layers=3, num_attention_heads=2)
    head = SceneHead(transformer)
    given = {
        "hidden_states": torch.randn(1, 24, 1, 4, 4),
        "timestep": torch.full((1, 4), 500.0),
        "encoder_hidden_states": torch.randn(1, 3, TEXT_WIDTH),
    }
    covers, slots = torch.rand(1, 2, 1, 2, 2) / 2, torch.tensor([fill_slots(TWO)])
    transformer(**given)
    head.loss(covers, slots, torch.zeros(1, dtype=torch.bool)).backward()  # type: ignore[no-untyped-call]
    assert transformer.blocks[1].ffn.net[2].weight.grad is not None
    assert transformer.blocks[2].ffn.net[2].weight.grad is None, "it asks the middle"
    head.close()
    transformer(**given)
    with pytest.raises(RuntimeError, match="has not run"):
        head.loss(covers, slots, torch.zeros(1, dtype=torch.bool))
