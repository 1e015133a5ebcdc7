"""Speech as LTX hears it: a waveform to a mel spectrogram to latents of its audio autoencoder.

The front end is that of the LTX-2 training code (`ltx_core`, audio ops): slaney filters on
magnitudes, natural logarithm, two channels. diffusers ships the autoencoder without it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from models.adapters.placement import bring
from models.pipeline import Audio
from models.speech.loudness import resampled

WINDOW = 1024
FLOOR = 1e-5


def log_mel(wave: Tensor, rate: int, num_mels: int, hop: int) -> Tensor:
    """`wave` [C, T] in [-1, 1] at `rate` Hz as [1, C, T / hop + 1, num_mels], float32."""
    filters = mel_filter_bank(
        num_frequency_bins=WINDOW // 2 + 1,
        num_mel_filters=num_mels,
        min_frequency=0.0,
        max_frequency=rate / 2,
        sampling_rate=rate,
        norm="slaney",
        mel_scale="slaney",
    )
    spectrum = torch.stft(
        wave,
        n_fft=WINDOW,
        hop_length=hop,
        window=torch.hann_window(WINDOW, device=wave.device),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    bank = torch.from_numpy(filters).to(wave.device, torch.float32)
    mel = spectrum.abs().transpose(1, 2) @ bank
    return mel.clamp(min=FLOOR).log().unsqueeze(0)


@torch.inference_mode()
def encode_speech(audio_vae: Any, audio: Audio, duration_s: float, device: str) -> Tensor:  # noqa: ANN401 -- untyped
    """Latents of `audio`, with silence behind it up to `duration_s`: float32 [1, C, L, M]."""
    config = audio_vae.config
    rate = int(config.sample_rate)
    wave = resampled(_stereo(audio.samples), audio.sample_rate, rate)
    # One latent more than asked for: a slice at its very end is whole, however it is rounded.
    stride = config.mel_hop_length * audio_vae.temporal_compression_ratio
    length = (round(duration_s * rate / stride) + 1) * stride
    padded = functional.pad(torch.from_numpy(wave), (0, max(0, length - wave.shape[1])))
    mel = log_mel(padded[:, :length].to(device), rate, config.mel_bins, config.mel_hop_length)
    bring(audio_vae)
    latents: Tensor = audio_vae.encode(mel.to(audio_vae.dtype)).latent_dist.mode()
    return latents.float()


def slice_speech(
    latents: Tensor, per_second: float, *, first: int, num_frames: int, fps: int
) -> Tensor:
    """What is heard in `num_frames` frames from the frame `first` on.

    Every piece is cut by the clip's own time, so that rounding never adds up.
    """
    start = round(first / fps * per_second)
    length = round(num_frames / fps * per_second)
    return latents[:, :, start : start + length]


def latents_per_second(audio_vae: Any) -> float:  # noqa: ANN401 -- untyped
    """25 for the published autoencoder."""
    config = audio_vae.config
    per_mel = float(config.sample_rate / config.mel_hop_length)
    return per_mel / float(audio_vae.temporal_compression_ratio)


def _stereo(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(np.broadcast_to(samples, (2, samples.shape[1])))
