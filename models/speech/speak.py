"""A performance becomes speech: a text through voices, or a recording, and the mouth to it."""

from dataclasses import replace

import numpy as np

from models.assets import AssetMissing, AssetSwitchedOff
from models.pipeline import Audio, InputRefused, LoadFailed
from models.refusal import InputUnusable, Refusal
from models.spec import Emotion, SpokenAudio, SpokenText
from models.speech.articulation import articulate
from models.speech.listen import listen
from models.speech.loudness import TARGET_LUFS, envelope, limited, normalized
from models.speech.prosody import Prosody, prosody_of
from models.speech.recording import read_recording
from models.speech.reshape import paused, pitched
from models.speech.script import MAX_SPEECH_S, Run, check_text, split_runs, spoken_words
from models.speech.track import MOUTH_RATE_HZ, MouthTrack, Spoken
from models.speech.voice import SAMPLE_RATE, Utterance, Voice, join
from models.speech.voices import Voices

_RIM_S = 0.12
_RUN_PAUSE_S = 0.08
_HASTE = 1.2
"""Over its limit, a text is spoken faster by so much at most, before it is refused."""

_HURRIES = 3
_MARGIN = 1.02
_LANGUAGES = {"zh": "Chinese", "en": "English"}


def perform(
    speech: SpokenText | SpokenAudio,
    emotion: Emotion,
    *,
    voices: Voices,
    seed: int = 0,
    max_s: float = MAX_SPEECH_S,
) -> Spoken:
    """Say `speech` with `emotion`; of a recording, `emotion` changes nothing that is heard.

    Equal arguments give equal sound, remote voices apart.

    Raises:
        InputRefused: the text or the recording cannot be used, or lasts longer than `max_s`.
        LoadFailed: the weights of a voice are not on this machine.
        VoiceFailed: a remote voice does not answer.
    """
    if isinstance(speech, SpokenAudio):
        return _performed_recording(speech, max_s)
    try:
        check_text(speech.text, speech.language)
    except InputUnusable as error:
        raise InputRefused(error.code, error.message) from error
    prosody = prosody_of(emotion)
    prosody = replace(prosody, pace=prosody.pace * speech.speed)
    said = _say(speech, prosody, voices, seed)
    hurried = prosody
    # The rests do not shrink with the words, so once may be too little.
    for _ in range(_HURRIES):
        if max_s < said.duration_s <= max_s * _HASTE:
            hurried = replace(hurried, pace=hurried.pace * said.duration_s / max_s * _MARGIN)
            said = _say(speech, hurried, voices, seed)
    if said.duration_s > max_s:
        raise InputRefused(
            Refusal.TEXT_TOO_LONG,
            f"the text takes {said.duration_s:.1f} s to say, {max_s:g} s are allowed",
        )
    return _spoken(said, prosody)


def _performed_recording(speech: SpokenAudio, max_s: float) -> Spoken:
    if speech.path is None:
        raise ValueError("the recording has not been fetched: its path is not set")
    recording = read_recording(speech.path)
    spoken = Spoken(recording.audio, listen(recording.mono))
    if spoken.duration_s > max_s + 1 / MOUTH_RATE_HZ:
        raise InputRefused(
            Refusal.AUDIO_TOO_LONG,
            f"the recording lasts {spoken.duration_s:.1f} s, {max_s:g} s are allowed",
        )
    return spoken


def _say(speech: SpokenText, prosody: Prosody, voices: Voices, seed: int) -> Utterance:
    """All runs of the text, one after the other, with a rest at both ends."""
    parts = [(Utterance.silent(_RIM_S), 0.0)]
    for index, run in enumerate(split_runs(speech.text, speech.language)):
        voice = voices.choose(speech.voice_id, run.language)
        said = _say_run(voice, run, prosody, seed + index)
        parts.append((said, _RUN_PAUSE_S * prosody.pause / prosody.pace))
    return join([*parts, (Utterance.silent(_RIM_S), 0.0)])


def _say_run(voice: Voice, run: Run, prosody: Prosody, seed: int) -> Utterance:
    """One voice's part: pitched by resampling, whose change of pace is made up for before."""
    try:
        said = voice.say(spoken_words(run), prosody.pace / prosody.pitch, seed)
    except AssetSwitchedOff as error:
        raise InputRefused(
            Refusal.TEXT_UNSPEAKABLE,
            f"the {_LANGUAGES[run.language]} voice is switched off here, "
            f"so that nobody can say {run.text.strip()[:20]!r}",
        ) from error
    except AssetMissing as error:
        raise LoadFailed(str(error)) from error
    even = normalized(said.samples[None], SAMPLE_RATE, TARGET_LUFS)[0]
    return paused(pitched(replace(said, samples=even), prosody.pitch), prosody.pause)


def _spoken(said: Utterance, prosody: Prosody) -> Spoken:
    gain = np.float32(10 ** (prosody.gain_db / 20))
    samples = limited(said.samples[None] * gain, SAMPLE_RATE)
    mouth = _mouth(said)
    return Spoken(Audio(samples, SAMPLE_RATE), mouth)


def _mouth(said: Utterance) -> MouthTrack:
    if said.sounds is None:
        return listen(said.samples)
    return articulate(said.sounds, said.duration_s, envelope(said.samples, SAMPLE_RATE))
