"""Teaches the text encoder alone to say what a caption names, before any picture is drawn.

Trained together with the transformer it forgets: what a word means for a shape changes the loss of
a whole clip by a thousandth at first. Here every word counts, and the stage takes minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from models.tiny.captions import draw_caption
from models.tiny.config import TEXT_WIDTH
from models.tiny.data import draw_combination
from models.tiny.optimizer import MuonAdamW
from models.tiny.slots import SLOTS, fill_slots
from models.tiny.texts import embed, tokenize
from models.tiny.training import Budget, Draws, Run, train

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from models.tiny.untyped import TextEncoder, Tokenizer

BATCH_SIZE = 128
MATRIX_RATE, OTHER_RATE, AVERAGE_DECAY = 2e-3, 2e-3, 0.99

PROBE_SEED, NUM_PROBES = 77, 512


class SlotReader(nn.Module):
    """Reads every slot the way cross-attention would: a query looks at the tokens.

    Left behind when the stage ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(SLOTS), TEXT_WIDTH) * TEXT_WIDTH**-0.5)
        self.names = nn.ModuleList(nn.Linear(TEXT_WIDTH, len(words) + 1) for words in SLOTS)

    def read(self, text: Tensor, mask: Tensor) -> list[Tensor]:
        """Returns a logit for each word of each slot, the last for none: `[N, words + 1]` each.

        Args:
            text: Embeddings, `[N, L, 128]`.
            mask: 1 for text and 0 for padding, `[N, L]`.
        """
        looks = (text @ self.queries.T).masked_fill(mask.unsqueeze(-1) == 0, float("-inf"))
        seen = looks.softmax(1).transpose(1, 2) @ text
        return [name(seen[:, slot]) for slot, name in enumerate(self.names)]


def train_text(
    text_encoder: TextEncoder, tokenizer: Tokenizer, state: Path, budget: Budget, seed: int
) -> None:
    """Trains a text encoder in place and leaves the averaged weights in it.

    Args:
        text_encoder: What is trained, float32.
        tokenizer: The tokenizer of the captions.
        state: File to resume from and save to; weights go to `text_encoder` beside it.
        budget: How long to train.
        seed: Seed of all draws.
    """
    reader = SlotReader()
    everything = [*text_encoder.parameters(), *reader.parameters()]
    matrices = [
        each for name, each in text_encoder.named_parameters() if each.ndim > 1 and "block" in name
    ]
    taken = {id(each) for each in matrices}
    others = [each for each in everything if id(each) not in taken]
    optimizer = MuonAdamW(matrices, others, MATRIX_RATE, OTHER_RATE)
    run = Run(everything, optimizer, state, AVERAGE_DECAY)

    def read(draws: Draws, num_captions: int) -> tuple[list[Tensor], Tensor]:
        combinations = [draw_combination(draws.rng) for _ in range(num_captions)]
        captions = [draw_caption(each, draws.rng) for each in combinations]
        tokens = tokenize(captions, tokenizer)
        said = reader.read(embed(tokens, text_encoder), tokens.attention_mask)
        return said, torch.tensor([fill_slots(each) for each in combinations])

    def loss_at(draws: Draws, _done: float) -> Tensor:
        said, wanted = read(draws, BATCH_SIZE)
        losses = [nn.functional.cross_entropy(*each) for each in zip(said, wanted.T, strict=True)]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def save_weights() -> str:
        text_encoder.save_pretrained(state.parent / "text_encoder")
        said, wanted = read(Draws(PROBE_SEED, 0), NUM_PROBES)
        right = [
            (each.argmax(1) == true).float().mean().item()
            for each, true in zip(said, wanted.T, strict=True)
        ]
        return "right=" + " ".join(f"{each:.2f}" for each in right)

    train(run, budget, seed, loss_at, save_weights)
    run.use_average()
