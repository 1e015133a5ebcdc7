"""The front end of LTX's ear, against the definition written out with numpy."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
import torch

from models.adapters.ltx_sound import FLOOR, WINDOW, log_mel, slice_speech

RATE, HOP, MELS = 16_000, 160, 64


def hz_of(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Slaney's scale: linear to 1 kHz, then 27 mels for every factor of 6.4."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def slaney_bank() -> npt.NDArray[np.float64]:
    """Triangles of equal area from 0 to 8 kHz, [bins, mels]."""
    top = 15 + np.log(RATE / 2 / 1000) * 27 / np.log(6.4)
    edges = hz_of(np.linspace(0, top, MELS + 2))
    bins = np.linspace(0, RATE / 2, WINDOW // 2 + 1)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * 2 / (high - low))


def test_the_spectrogram_is_slaneys() -> None:
    wave = np.random.default_rng(0).normal(0, 0.2, (2, RATE)).astype(np.float32)
    ours = log_mel(torch.from_numpy(wave), RATE, MELS, HOP)
    assert ours.shape == (1, 2, RATE // HOP + 1, MELS)
    padded = np.pad(wave, ((0, 0), (WINDOW // 2, WINDOW // 2)), mode="reflect")
    window = np.hanning(WINDOW + 1)[:-1]
    for row in (0, 50, 100):
        piece = padded[:, row * HOP : row * HOP + WINDOW] * window
        mel = np.abs(np.fft.rfft(piece)) @ slaney_bank()
        expected = np.log(np.maximum(mel, FLOOR))
        assert np.abs(ours[0, :, row].numpy() - expected).max() < 1e-3


def test_silence_is_the_floor() -> None:
    mel = log_mel(torch.zeros(2, RATE), RATE, MELS, HOP)
    assert torch.allclose(mel, torch.tensor(FLOOR).log())


@pytest.mark.parametrize("first", [0, 112, 223, 1319])
def test_pieces_are_cut_by_the_time_of_the_clip(first: int) -> None:
    latents = torch.arange(1600).reshape(1, 1, 1600, 1)
    piece = slice_speech(latents, 25.0, first=first, num_frames=121, fps=24)
    assert piece.shape[2] == 126
    # Never more than half a latent away, however many pieces came before.
    assert abs(Fraction(int(piece[0, 0, 0, 0]), 25) - Fraction(first, 24)) <= Fraction(1, 50)
