"""From a recording to a mouth: a small network that hears mouth shapes.

Mel energies of 10 ms steps go in, the four columns of a mouth track come out; dilated
convolutions see 0.35 s around each step. Trained by `models.speech.train_listener` on our own
voices, whose phones are known.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter1d
from torch import nn
from typing_extensions import override

from models.speech.loudness import envelope, resampled
from models.speech.track import MOUTH_RATE_HZ, OPEN, MouthTrack
from models.speech.voice import SAMPLE_RATE

WEIGHTS = Path(__file__).parent / "listener.safetensors"
HEARD_HZ = 16_000

Samples = npt.NDArray[np.float32]

_FFT, _WINDOW, _HOP = 512, 400, HEARD_HZ // MOUTH_RATE_HZ
_MELS, _CHANNELS, _CONTROLS = 40, 48, 4
_DILATIONS = (1, 2, 4)
_FLOOR = 1e-8
_SPREAD = 3.0
_QUIET = 0.06
_SMOOTH_ROWS = 1.0


class Listener(nn.Module):
    """Features float32 [B, 40, T] to controls float32 [B, 4, T], within the ranges of a track."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv1d(_MELS, _CHANNELS, 5, padding=2), nn.GELU()]
        for dilation in _DILATIONS:
            layers += [
                nn.Conv1d(_CHANNELS, _CHANNELS, 5, padding=2 * dilation, dilation=dilation),
                nn.GELU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv1d(_CHANNELS, _CONTROLS, 1))

    @override
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class; rows outside the ranges are possible and cut off later."""
        heard: torch.Tensor = self.layers(features)
        return heard


def listen(mono: Samples) -> MouthTrack:
    """The mouth that says `mono`, float32 [T] at `voice.SAMPLE_RATE`; at rest where it is quiet."""
    num_rows = -(-len(mono) * MOUTH_RATE_HZ // SAMPLE_RATE)
    heard = features(resampled(mono, SAMPLE_RATE, HEARD_HZ), num_rows)
    with torch.inference_mode():
        rows = _listener()(torch.from_numpy(heard).T[None])[0].T.numpy().astype(np.float32)
    rows = gaussian_filter1d(rows, _SMOOTH_ROWS, axis=0)
    loudness = np.resize(envelope(mono, SAMPLE_RATE), num_rows)
    rows[:, OPEN] *= np.clip(loudness / _QUIET, 0, 1)
    return MouthTrack(np.clip(rows, [0, -1, 0, 0], 1).astype(np.float32))


def features(samples: Samples, num_rows: int) -> Samples:
    """Log mel energies [num_rows, 40] of `samples` at `HEARD_HZ`, less their mean over time."""
    padded = np.pad(samples, ((_WINDOW - _HOP) // 2, _WINDOW + _HOP))
    padded = np.pad(padded, (0, max(0, num_rows * _HOP + _WINDOW - len(padded))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][:num_rows]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), _FFT)) ** 2
    log = np.log(power @ _mel_filters().T + _FLOOR)
    return np.asarray((log - log.mean(axis=0)) / _SPREAD, np.float32)


@lru_cache(maxsize=1)
def _mel_filters() -> npt.NDArray[np.float64]:
    """Triangles [40, 257] on the mel scale of O'Shaughnessy (1987), 0 to 8 kHz."""
    top = 2595 * np.log10(1 + HEARD_HZ / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _MELS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(_FFT, 1 / HEARD_HZ)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(rising, falling), 0, None)


@lru_cache(maxsize=1)
def _listener() -> Listener:
    listener = Listener()
    listener.load_state_dict(load_file(WEIGHTS))
    return listener.eval()
