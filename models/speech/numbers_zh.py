"""Numbers in Chinese text, written as they are said. Pure."""

import re
from collections.abc import Callable

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千")
_GROUPS = ("", "万", "亿", "万亿")
_MAX_INTEGER_DIGITS = 16
_SPELLED_FROM = 10  # digits: longer ones are numbers of phones and orders, said one by one
_MEASURES = "个只本次位件条张天种杯家间块口辆台句岁倍周"
_UNITS = {
    "km/h": "公里每小时", "kg": "千克", "km": "公里", "cm": "厘米", "mm": "毫米", "mg": "毫克",
    "ml": "毫升", "GB": "吉字节", "MB": "兆字节", "TB": "太字节", "Hz": "赫兹", "fps": "帧每秒",
    "°C": "摄氏度", "℃": "摄氏度", "m²": "平方米", "㎡": "平方米", "m": "米", "g": "克", "L": "升",
    "°": "度",
}  # fmt: skip
_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_NUMBER = r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_CURRENCIES = {"¥": "元", "￥": "元", "$": "美元", "€": "欧元", "£": "英镑"}

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def speak_numbers(text: str) -> str:
    """`text` with its dates, times, amounts and numbers as words: `20%` is 百分之二十."""
    for pattern, words in _RULES:
        text = pattern.sub(words, text)
    return text


def integer(digits: str) -> str:
    """A whole number as it is counted: `"10050"` is 一万零五十."""
    value = int(digits)
    if value == 0:
        return _DIGITS[0]
    if len(str(value)) > _MAX_INTEGER_DIGITS:
        return spell(digits)
    groups: list[int] = []
    while value:
        value, group = divmod(value, 10_000)
        groups.append(group)
    said = ""
    for place in reversed(range(len(groups))):
        group = groups[place]
        if group:
            gap = _DIGITS[0] if said and group < 1000 and not said.endswith("零") else ""  # noqa: PLR2004
            said += gap + _below_ten_thousand(group) + _GROUPS[place]
    return said[1:] if said.startswith("一十") else said


def spell(digits: str) -> str:
    """Digit by digit."""
    return "".join(_DIGITS[int(digit)] for digit in digits)


def _below_ten_thousand(value: int) -> str:
    said, has_gap = "", False
    for place in reversed(range(4)):
        digit = value // 10**place % 10
        if digit:
            said += (_DIGITS[0] if said and has_gap else "") + _DIGITS[digit] + _PLACES[place]
            has_gap = False
        else:
            has_gap = True
    return said


def _number(written: str) -> str:
    whole, _, fraction = written.replace(",", "").partition(".")
    is_code = len(whole) >= _SPELLED_FROM or (len(whole) > 1 and whole[0] == "0")
    said = spell(whole) if is_code and "," not in written else integer(whole)
    return said + (f"点{spell(fraction)}" if fraction else "")


def _date(match: re.Match[str]) -> str:
    year, month, day = match.group(1, 2, 3)
    return f"{spell(year)}年{integer(month)}月{integer(day)}日"


def _time(match: re.Match[str]) -> str:
    hour, minute, second = match.group(1, 2, 3)
    said = f"{integer(hour)}点"
    if int(minute):
        said += (_DIGITS[0] if minute[0] == "0" else "") + integer(minute) + "分"
    elif second is None:
        said += "整"
    return said + (f"{integer(second)}秒" if second else "")


def _measured(match: re.Match[str]) -> str:
    return ("两" if match[1] == "2" else _number(match[1])) + match[2]


_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)"), _date),
    (re.compile(r"(?<!\d)(\d{4})(?=年)"), lambda m: spell(m[1])),
    (re.compile(r"(?<!\d)([01]?\d|2[0-3])[:：]([0-5]\d)(?:[:：]([0-5]\d))?(?!\d)"), _time),
    (
        re.compile(rf"(?<![\w.])[-−](?=(?:{_NUMBER}))"),
        lambda _m: "负",
    ),
    (re.compile(rf"({_NUMBER})\s*[%％]"), lambda m: f"百分之{_number(m[1])}"),
    (re.compile(rf"([¥￥$€£])\s*({_NUMBER})"), lambda m: _number(m[2]) + _CURRENCIES[m[1]]),
    (re.compile(r"(?<!\d)(\d+)/(\d+)(?!\d)"), lambda m: f"{integer(m[2])}分之{integer(m[1])}"),
    (re.compile(r"(?<!\d)(\d+)[:：](\d+)(?!\d)"), lambda m: f"{integer(m[1])}比{integer(m[2])}"),
    (re.compile(rf"({_NUMBER})\s*[-~～—–]\s*(?=\d)"), lambda m: f"{_number(m[1])}到"),
    (
        re.compile(rf"({_NUMBER})\s*({_UNIT})(?![A-Za-z])"),
        lambda m: _number(m[1]) + _UNITS[m[2]],
    ),
    (re.compile(rf"(?<!\d)(\d+)([{_MEASURES}])"), _measured),
    (re.compile(_NUMBER), lambda m: _number(m[0])),
)


def is_unit(letters: str) -> bool:
    """Whether `letters` behind a number are a unit that has a Chinese name."""
    return letters in _UNITS
