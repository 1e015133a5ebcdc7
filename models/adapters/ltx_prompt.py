"""What LTX is told of a digital human: feeling and movement have no other way in."""

from models.spec import EmotionName, Performance

_LOOKS = {
    EmotionName.NEUTRAL: "with a neutral expression",
    EmotionName.HAPPY: "{degree}happy, smiling with bright eyes",
    EmotionName.SAD: "{degree}sad, with lowered brows and heavy eyes",
    EmotionName.ANGRY: "{degree}angry, with knitted brows and a firm jaw",
    EmotionName.SURPRISED: "{degree}surprised, with raised brows and wide eyes",
    EmotionName.FEARFUL: "{degree}afraid, with tense brows and wide eyes",
    EmotionName.DISGUSTED: "{degree}disgusted, with a wrinkled nose",
    EmotionName.CALM: "{degree}calm, with relaxed features",
}
_DEGREES = {1: "faintly ", 2: "slightly ", 3: "", 4: "very ", 5: "extremely "}
_MOVES = (
    (0.15, "The head stays almost still."),
    (0.4, "The head moves a little while speaking."),
    (0.7, "The head nods and turns naturally, the shoulders move along."),
    (1.0, "Lively gestures with head, shoulders and hands."),
)


def describe_performance(performance: Performance, prompt: str = "") -> str:
    """The prompt of a performance; the client's own words come last."""
    emotion = performance.emotion
    look = _LOOKS[emotion.name].format(degree=_DEGREES[emotion.intensity])
    move = next(text for most, text in _MOVES if performance.motion <= most)
    told = (
        f"A person looks into the camera and speaks, {look}. "
        "The lips move in exact time with the voice. "
        f"{move} The camera is static, the light and the background do not change."
    )
    return f"{told} {prompt.strip()}".strip()
