"""What can be spoken, by whom, and how long it takes at most."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.refusal import InputUnusable, Refusal
from models.spec import Emotion, EmotionName
from models.speech import numbers_en, numbers_zh
from models.speech.script import Run, check_text, estimate_seconds, split_runs


@pytest.mark.parametrize("module", ["models.speech.script", "models.speech.probe"])
def test_the_gateways_part_loads_nothing_heavy(module: str) -> None:
    heavy = "{'numpy', 'torch', 'av', 'scipy', 'pypinyin', 'onnxruntime'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "language", "named"),
    [
        ("", "auto", "nothing to be spoken"),
        ("  ...!?\n", "auto", "nothing to be spoken"),
        ("😀😀", "auto", "nothing to be spoken"),
        ("مرحبا", "auto", "U+0645 ARABIC LETTER MEEM"),
        ("你好 привет", "auto", "U+043F CYRILLIC SMALL LETTER PE"),
        ("こんにちは", "zh", "U+3053 HIRAGANA LETTER KO"),
        ("Hello 你好", "en", "U+4F60"),
        ("Hello\x00", "auto", "U+0000; control characters"),
        ("Hello\u202eolleh", "auto", "U+202E"),
        ("<speak>Hello</speak>", "en", "'<speak>'"),
        ('Wait <break time="9s"/> now', "auto", "markup such as '<break"),
        ("&lt;speak&gt; Hello", "auto", "markup such as '&lt;'"),
        ("&#60;speak&#62; Hello", "auto", "markup such as '&#60;'"),
    ],
)
def test_what_cannot_be_spoken_is_named(text: str, language: str, named: str) -> None:
    with pytest.raises(InputUnusable) as caught:
        check_text(text, language)
    assert caught.value.code == Refusal.TEXT_UNSPEAKABLE
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("你好，世界！", "zh"),
        ("Café déjà vu: 3 < 5 & 7 > 2", "en"),
        ("买２５kg ＡＢＣ 😀", "auto"),
        ("R&D; AT&T", "en"),
        ("42", "auto"),
    ],
)
def test_what_can_be_spoken_is_let_through(text: str, language: str) -> None:
    check_text(text, language)


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("你好 world。再见", [("zh", "你好 "), ("en", "world。"), ("zh", "再见")]),
        ("2024年，用GPU渲染", [("zh", "2024年，用"), ("en", "GPU"), ("zh", "渲染")]),
        ("一袋5kg大米", [("zh", "一袋5kg大米")]),
        ("Chapter 12 begins", [("en", "Chapter 12 begins")]),
        ("12, 34", [("en", "12, 34")]),
    ],
)
def test_text_is_split_by_who_speaks_it(text: str, runs: list[tuple[str, str]]) -> None:
    assert [(run.language, run.text) for run in split_runs(text, "auto")] == runs


def test_numbers_alone_follow_the_language_asked_for() -> None:
    assert split_runs("12", "zh") == [Run("zh", "12")]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("2024年3月5日", "二零二四年三月五日"),
        ("2024-03-05", "二零二四年三月五日"),
        ("涨了20%", "涨了百分之二十"),
        ("10050元和110元", "一万零五十元和一百一十元"),
        ("100010001", "一亿零一万零一"),
        ("1,203.5万", "一千二百零三点五万"),
        ("2个人，12个月", "两个人，十二个月"),
        ("7:30到8:05", "七点三十分到八点零五分"),
        ("电话13812345678", "电话一三八一二三四五六七八"),
        ("5kg，-3°C", "五千克，负三摄氏度"),
        ("1/2和3:2", "二分之一和三比二"),
        ("¥99.5，$3", "九十九点五元，三美元"),
        ("100-200米", "一百到二百米"),
        ("007", "零零七"),
        ("0", "零"),
    ],
)
def test_chinese_numbers(written: str, spoken: str) -> None:
    assert numbers_zh.speak_numbers(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("2024-03-05", "March fifth, twenty twenty-four"),
        ("in 1905 and 2005", "in nineteen oh five and two thousand five"),
        ("1,203 or 1000000", "one thousand two hundred three or one million"),
        ("20% of 3.14", "twenty percent of three point one four"),
        (
            "$9.99, £1, $1.01",
            "nine dollars and ninety-nine cents, one pound, one dollar and one cent",
        ),
        ("the 21st and 30th", "the twenty-first and thirtieth"),
        ("at 7:30, 8:05, 9:00", "at seven thirty, eight oh five, nine o'clock"),
        ("5 kg at 60 km/h", "five kilograms at sixty kilometers per hour"),
        ("-5°C", "minus five degrees Celsius"),
        ("10-20", "ten to twenty"),
        ("007", "zero zero seven"),
        ("0", "zero"),
    ],
)
def test_english_numbers(written: str, spoken: str) -> None:
    assert numbers_en.speak_numbers(written) == spoken


@given(st.text(max_size=200), st.sampled_from(["auto", "zh", "en"]))
def test_any_text_is_spoken_or_refused_by_name(text: str, language: str) -> None:
    refusal, seconds = "", 0.0
    try:
        check_text(text, language)
        seconds = estimate_seconds(text, language, 1.0)
    except InputUnusable as error:
        refusal = error.message
    assert refusal or 0 < seconds < 1000


@given(st.integers(min_value=0, max_value=10**16 - 1))
def test_every_integer_has_words_without_digits(value: int) -> None:
    for speak in (numbers_zh.speak_numbers, numbers_en.speak_numbers):
        assert not any(char.isdigit() for char in speak(str(value)))


def test_slower_speech_is_expected_to_take_longer() -> None:
    text = "今天的天气非常好。 The weather is fine."
    plain = estimate_seconds(text, "auto", 1.0)
    assert estimate_seconds(text, "auto", 0.5) > plain > estimate_seconds(text, "auto", 2.0)
    sad = Emotion(name=EmotionName.SAD, intensity=5)
    assert estimate_seconds(text, "auto", 1.0, sad) > plain * 1.2
