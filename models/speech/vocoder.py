"""The English voice's sound: spectra as its network predicts them, brought back to samples.

Every 12.5 ms there is a magnitude and a phase for a train of pulses at the pitch, a level of
noise, and a part of free phase; their sum is one inverse short-time Fourier transform.
"""

from dataclasses import dataclass

import numpy as np
import torch

from models.speech.voice import SAMPLE_RATE, Samples

_FFT, _HOP = 1200, 300
_VOICED_HZ, _TOP_HZ = 40.0, 11_000.0
_MAX_LOG = 7.0
_NEAR_PEAK = 2e-3


@dataclass(frozen=True)
class Spectra:
    """What the network says, T frames; each float32 [601, T], but for `pitch_hz`, [T].

    Attributes:
        harmonic: log magnitude of the voiced part.
        phase: of the voiced part, in units that `tanh` brings to half turns.
        noise: log magnitude of the noise.
        free: log magnitude of the rest.
        free_phase: of the rest, in radians.
        pitch_hz: below 40 there is none.
    """

    harmonic: Samples
    phase: Samples
    noise: Samples
    free: Samples
    free_phase: Samples
    pitch_hz: Samples


def vocode(spectra: Spectra, random: np.random.Generator) -> Samples:
    """Samples float32 [T * 300] at `SAMPLE_RATE`; `random` draws the noise."""
    window = torch.hann_window(_FFT)
    num_frames = len(spectra.pitch_hz)
    source = torch.from_numpy(_pulses(spectra.pitch_hz))
    pulses = torch.stft(source, _FFT, _HOP, window=window, return_complex=True)
    # A cosine of unit amplitude peaks at a quarter of the window's length.
    voiced = pulses[:, :num_frames].numpy() / (_FFT / 4)
    drawn = random.standard_normal((*spectra.noise.shape, 2), dtype=np.float32)
    spectrum = (
        voiced * _level(spectra.harmonic) * np.exp(1j * np.pi * np.tanh(spectra.phase))
        + drawn.view(np.complex64)[..., 0] * _level(spectra.noise)
        + _level(spectra.free) * np.exp(1j * spectra.free_phase)
    )
    whole = torch.from_numpy(spectrum.astype(np.complex64))
    sound = torch.istft(whole, _FFT, _HOP, window=window, length=num_frames * _HOP)
    return np.asarray(sound.numpy(), np.float32)


def _pulses(pitch_hz: Samples) -> Samples:
    """All harmonics below 11 kHz at unit amplitude, as one sum (Dirichlet's kernel) [T * 300]."""
    frames = np.arange(len(pitch_hz)) + 0.5
    times = (np.arange(len(pitch_hz) * _HOP) + 0.5) / _HOP
    pitch = np.interp(times, frames, pitch_hz)
    is_voiced = pitch > _VOICED_HZ
    pitch = np.maximum(pitch, _VOICED_HZ)
    angle = 2 * np.pi * np.mod(np.cumsum(pitch) / SAMPLE_RATE, 1.0)
    order = np.floor(_TOP_HZ / pitch) + 0.5
    below = 2 * np.sin(angle / 2)
    is_peak = np.abs(below) <= _NEAR_PEAK  # where the quotient tends to `order`
    kernel = np.where(is_peak, order, np.sin(order * angle) / np.where(is_peak, 1, below))
    return np.where(is_voiced, kernel - 0.5, 0).astype(np.float32)


def _level(log: Samples) -> Samples:
    return np.exp(np.minimum(log, _MAX_LOG), dtype=np.float32)
