"""Train the listener on our own voices: `reelgate train-listener`.

The voices say random words, whose phones and times they tell; changed in pitch, noise and room,
that is what the network hears. Same seed, same data; weights agree to rounding. Held-out words
are scored at the end: Pearson's r with the mouth that the phones make.
"""

import gzip
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.console import Console
from safetensors.torch import save_file
from scipy.signal import fftconvolve, resample_poly
from torch.nn.functional import mse_loss

from models.assets import asset_path
from models.speech.articulation import articulate
from models.speech.chinese import ChineseVoice
from models.speech.english import EnglishVoice
from models.speech.listen import HEARD_HZ, WEIGHTS, Listener, features
from models.speech.loudness import envelope
from models.speech.track import BITE, OPEN, PRESS, WIDTH
from models.speech.voice import SAMPLE_RATE, Utterance, shifted

SEED = 0
NUM_TRAIN, NUM_HELD_OUT = 200, 25
STEPS = 3500
_BATCH, _ROWS = 16, 160
_PEAK_RATE = 4e-3
_WEIGHT_DECAY = 1e-3
_PRESS_WEIGHT = 2.0
_PITCHES = (0.85, 1.0, 1.15)
# Bytes of GB 2312's level one: the 3755 commonest characters, by their pronunciation.
_FIRST_ROW, _LAST_ROW = 0xB0, 0xD7
_USUAL = re.compile("[a-z]{3,10}")
_ECHOES = 0.3

Array = npt.NDArray[np.float32]
Example = tuple[Array, Array]
_CONSOLE = Console(stderr=True)


@dataclass(frozen=True)
class _Texts:
    train: list[str]
    held_out: list[str]


def train(
    out: Annotated[Path, typer.Option(help="where the weights go")] = WEIGHTS,
    steps: Annotated[int, typer.Option(min=1, help="batches to learn from")] = STEPS,
    sentences: Annotated[int, typer.Option(min=1, help="texts a voice")] = NUM_TRAIN,
) -> None:
    """Train the network that hears mouths in recordings, on our own voices; prints its scores."""
    torch.set_num_threads(1)  # so small a network only waits for a second thread
    started = time.monotonic()
    heard, held_out = make_examples(sentences)
    _CONSOLE.print(
        f"{_minutes(heard):.0f} min of speech made in {time.monotonic() - started:.0f} s"
    )
    listener = fit(heard, steps)
    save_file(listener.state_dict(), out)
    _CONSOLE.print(f"{out}: trained in {(time.monotonic() - started) / 60:.1f} min in all")
    for language, examples in held_out.items():
        _CONSOLE.print(
            language, {name: round(r, 3) for name, r in score(listener, examples).items()}
        )


def make_examples(num_train: int) -> tuple[list[Example], dict[str, list[Example]]]:
    """Training examples of both voices, and unchanged held-out ones by language."""
    random = np.random.default_rng(SEED)
    train: list[Example] = []
    held_out: dict[str, list[Example]] = {}
    for voice, texts in (
        (ChineseVoice(), chinese_texts(num_train, random)),
        (EnglishVoice(), english_texts(num_train, random)),
    ):
        for text in texts.train:
            said = voice.say(text, random.uniform(0.85, 1.2), int(random.integers(2**31)))
            train += [_changed(said, pitch, random) for pitch in _PITCHES]
        held_out[voice.languages[0]] = [_plain(voice.say(text, 1.0, 0)) for text in texts.held_out]
    return train, held_out


def chinese_texts(num_train: int, random: np.random.Generator) -> _Texts:
    """Common characters in random order."""
    codes = (
        bytes((row, cell)) for row in range(_FIRST_ROW, _LAST_ROW + 1) for cell in range(0xA1, 0xFF)
    )
    common = [char for code in codes if (char := code.decode("gb2312", errors="ignore"))]
    texts = ["".join(random.choice(common, 14)) + "。" for _ in range(num_train + NUM_HELD_OUT)]
    return _Texts(texts[NUM_HELD_OUT:], texts[:NUM_HELD_OUT])


def english_texts(num_train: int, random: np.random.Generator) -> _Texts:
    """Words of the dictionary in random order."""
    with gzip.open(asset_path("speech/en/lexicon-gold.json.gz"), "rt", encoding="utf-8") as file:
        words = [word for word in json.load(file) if _USUAL.fullmatch(word)]
    texts = [" ".join(random.choice(words, 9)) + "." for _ in range(num_train + NUM_HELD_OUT)]
    return _Texts(texts[NUM_HELD_OUT:], texts[:NUM_HELD_OUT])


def fit(examples: Sequence[Example], steps: int) -> Listener:
    """A listener that has seen `steps` batches of windows drawn from `examples`."""
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED + 1)
    listener = Listener()
    optimizer = torch.optim.AdamW(listener.parameters(), weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, steps)
    weights = torch.ones(4, 1)
    weights[PRESS] = _PRESS_WEIGHT
    for step in range(steps):
        heard, wanted = _batch(examples, random)
        loss = mse_loss(listener(heard) * weights.sqrt(), wanted * weights.sqrt())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            _CONSOLE.print(f"step {step}: loss {loss.item():.4f}")
    return listener.eval()


def score(listener: Listener, examples: Sequence[Example]) -> dict[str, float]:
    """Pearson's r over all rows of `examples`, by column."""
    with torch.inference_mode():
        heard = [listener(torch.from_numpy(x).T[None])[0].T.numpy() for x, _ in examples]
    found, wanted = np.concatenate(heard), np.concatenate([y for _, y in examples])
    columns = {"open": OPEN, "width": WIDTH, "press": PRESS, "bite": BITE}
    return {
        name: float(np.corrcoef(found[:, column], wanted[:, column])[0, 1])
        for name, column in columns.items()
    }


def _batch(
    examples: Sequence[Example], random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [B, 40, T] and controls [B, 4, T]."""
    heard: list[Array] = []
    wanted: list[Array] = []
    while len(heard) < _BATCH:
        x, y = examples[int(random.integers(len(examples)))]
        if len(x) > _ROWS:
            start = int(random.integers(len(x) - _ROWS))
            heard.append(x[start : start + _ROWS])
            wanted.append(y[start : start + _ROWS])
    stacked = (torch.from_numpy(np.stack(each)).transpose(1, 2) for each in (heard, wanted))
    return next(stacked), next(stacked)


def _plain(said: Utterance) -> Example:
    samples = resample_poly(said.samples, 2, 3)
    return _example(np.asarray(samples, np.float32), said, 1.0)


def _changed(said: Utterance, pitch: float, random: np.random.Generator) -> Example:
    """Another speaker in another room: resampled, louder or softer, with noise and some echo."""
    samples = resample_poly(said.samples, round(200 / pitch), 300)
    if random.random() < _ECHOES:
        samples = _with_echo(samples, random)
    samples = samples / max(np.abs(samples).max(), 1e-6) * random.uniform(0.1, 0.9)
    noise = random.normal(0, 10 ** random.uniform(-5, -2.2), len(samples))
    return _example(np.asarray(samples + noise, np.float32), said, 1 / pitch)


def _with_echo(
    samples: npt.NDArray[np.float64], random: np.random.Generator
) -> npt.NDArray[np.float64]:
    decay_s = random.uniform(0.05, 0.25)
    times = np.arange(int(decay_s * HEARD_HZ)) / HEARD_HZ
    room = random.normal(0, 0.05, len(times)) * np.exp(-6.9 * times / decay_s)
    room[0] = 1.0
    return np.asarray(fftconvolve(samples, room)[: len(samples)])


def _example(samples: Array, said: Utterance, stretch: float) -> Example:
    duration_s = len(samples) / HEARD_HZ
    loudness = envelope(said.samples, SAMPLE_RATE)
    at = np.arange(int(duration_s * 100)) / stretch
    loudness = np.interp(at, np.arange(len(loudness)), loudness).astype(np.float32)
    sounds = shifted(said.sounds or (), 0.0, stretch)
    mouth = articulate(sounds, duration_s, loudness).controls
    return features(samples, len(mouth)), mouth


def _minutes(examples: Sequence[Example]) -> float:
    return sum(len(x) for x, _ in examples) / 6000


if __name__ == "__main__":
    typer.run(train)
