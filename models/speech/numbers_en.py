"""Numbers in English text, written as they are said. Pure."""

import re
from collections.abc import Callable

_SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
]  # fmt: skip
_TENS = [
    "zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
]  # fmt: skip
_THOUSANDS = ("", " thousand", " million", " billion", " trillion")
_MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
]  # fmt: skip
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_UNITS = {
    "km/h": "kilometers per hour", "kg": "kilograms", "km": "kilometers", "cm": "centimeters",
    "mm": "millimeters", "mg": "milligrams", "ml": "milliliters", "GB": "gigabytes",
    "MB": "megabytes", "TB": "terabytes", "kHz": "kilohertz", "Hz": "hertz",
    "fps": "frames per second", "°C": "degrees Celsius", "°F": "degrees Fahrenheit",
    "℃": "degrees Celsius", "ms": "milliseconds", "mph": "miles per hour", "lb": "pounds",
    "ft": "feet", "°": "degrees",
}  # fmt: skip
_CURRENCIES = {
    "$": ("dollar", "cent"),
    "£": ("pound", "penny"),
    "€": ("euro", "cent"),
    "¥": ("yuan", "fen"),
    "￥": ("yuan", "fen"),
}
_SIGNS = {
    "&": " and ",
    "+": " plus ",
    "=": " equals ",
    "@": " at ",
    "#": " number ",
    "%": " percent",
}
_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_NUMBER = r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_MAX_COUNTED_DIGITS = 9
_FIRST_YEAR, _PAST_LAST_YEAR = 1100, 2100

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def speak_numbers(text: str) -> str:
    """`text` with its dates, times, amounts and numbers as words: `20%` is twenty percent."""
    for pattern, words in _RULES:
        text = pattern.sub(words, text)
    return text


def cardinal(value: int) -> str:
    """`1203` is one thousand two hundred three. From 0 to below a thousand trillion."""
    if value < 20:  # noqa: PLR2004 -- the numbers with names of their own
        return _SMALL[value]
    if value < 100:  # noqa: PLR2004
        tens, ones = divmod(value, 10)
        return _TENS[tens] + (f"-{_SMALL[ones]}" if ones else "")
    if value < 1000:  # noqa: PLR2004
        hundreds, rest = divmod(value, 100)
        return f"{_SMALL[hundreds]} hundred" + (f" {cardinal(rest)}" if rest else "")
    place = (len(str(value)) - 1) // 3
    high, rest = divmod(value, 1000**place)
    return cardinal(high) + _THOUSANDS[place] + (f" {cardinal(rest)}" if rest else "")


def ordinal(value: int) -> str:
    """`21` is twenty-first."""
    said = cardinal(value)
    cut = max(said.rfind(" "), said.rfind("-")) + 1
    head, last = said[:cut], said[cut:]
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return head + last


def year(value: int) -> str:
    """`1905` is nineteen oh five, `2024` twenty twenty-four."""
    high, low = divmod(value, 100)
    if high % 10 == 0 and low < 10:  # noqa: PLR2004 -- two thousand five
        return cardinal(value)
    if low == 0:
        return f"{cardinal(high)} hundred"
    return f"{cardinal(high)} {'oh ' if low < 10 else ''}{cardinal(low)}"  # noqa: PLR2004


def spell(digits: str) -> str:
    """Digit by digit."""
    return " ".join(_SMALL[int(digit)] for digit in digits)


def _number(written: str) -> str:
    whole, _, fraction = written.replace(",", "").partition(".")
    is_code = len(whole) > _MAX_COUNTED_DIGITS or (len(whole) > 1 and whole[0] == "0")
    said = spell(whole) if is_code and "," not in written else _counted(whole)
    return said + (f" point {spell(fraction)}" if fraction else "")


def _counted(digits: str) -> str:
    return cardinal(int(digits)) if len(digits) <= len(_THOUSANDS) * 3 else spell(digits)


def _plain(match: re.Match[str]) -> str:
    written = match[0]
    if re.fullmatch(r"\d{4}", written) and _FIRST_YEAR <= int(written) < _PAST_LAST_YEAR:
        return year(int(written))
    return _number(written)


def _date(match: re.Match[str]) -> str:
    written_year, month, day = (int(part) for part in match.group(1, 2, 3))
    if not 1 <= month <= len(_MONTHS):
        return match[0]
    return f"{_MONTHS[month - 1]} {ordinal(day)}, {year(written_year)}"


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    if minute == 0:
        return f"{cardinal(hour)} o'clock"
    return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"  # noqa: PLR2004


def _money(match: re.Match[str]) -> str:
    whole, _, fraction = match[2].replace(",", "").partition(".")
    unit, part = _CURRENCIES[match[1]]
    said = f"{_counted(whole)} {_many(unit, int(whole))}"
    if len(fraction) == 2 and int(fraction):  # noqa: PLR2004 -- cents
        return f"{said} and {cardinal(int(fraction))} {_many(part, int(fraction))}"
    return said


def _many(unit: str, value: int) -> str:
    if value == 1 or unit in ("yuan", "fen"):
        return unit
    return "pence" if unit == "penny" else unit + "s"


_RULES: tuple[Rule, ...] = (
    (re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)"), _date),
    (re.compile(r"(?<!\d)([01]?\d|2[0-3]):([0-5]\d)(?!\d)"), _time),
    (re.compile(rf"([$£€¥￥])\s*({_NUMBER})"), _money),
    (re.compile(rf"(?<![\w.])[-−](?=(?:{_NUMBER}))"), lambda _m: "minus "),
    (re.compile(rf"({_NUMBER})\s*[%％]"), lambda m: f"{_number(m[1])} percent"),
    (
        re.compile(rf"({_NUMBER})\s*({_UNIT})(?![A-Za-z])"),
        lambda m: f"{_number(m[1])} {_UNITS[m[2]]}",
    ),
    (re.compile(r"(?<!\d)(\d{1,9})(?:st|nd|rd|th)\b"), lambda m: ordinal(int(m[1]))),
    (re.compile(rf"({_NUMBER})\s*[-~–]\s*(?=\d)"), lambda m: f"{_plain_or(m[1])} to "),
    (re.compile(_NUMBER), _plain),
    (re.compile(r"[&+=@#%]"), lambda m: _SIGNS[m[0]]),
)


def _plain_or(written: str) -> str:
    match = re.fullmatch(_NUMBER, written)
    return _plain(match) if match else written
