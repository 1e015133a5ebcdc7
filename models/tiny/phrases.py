"""What English and Chinese call the things of `data.py`, and the sentences they make of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from models.tiny.data import BACKGROUNDS, COLOURS, SHAPES

Templates = tuple[tuple[int, str], ...]
"""Sentences with their weights, the canonical one first; some leave things out, which are free."""


@dataclass(frozen=True)
class Language:
    """The words of one language, keyed by the names in `data.py`.

    `motions` holds the ways to say a motion, the canonical one first. The second of two things is
    `qualified` by an adjective where its motion has one, else `moving`. `short_names` are other
    names of colours and shapes. `words` are further words that no space sets apart, with what
    they mean in English.
    """

    colours: dict[str, str]
    shapes: dict[str, str]
    backgrounds: dict[str, str]
    relations: dict[str, str]
    motions: dict[str, tuple[str, ...]]
    adjectives: dict[str, str]
    qualified: str
    moving: str
    single: Templates
    pair: Templates
    fillers: tuple[str, ...]
    short_names: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    def shortened(self) -> Language:
        """Returns the language with its short names in place of the others."""
        colours, shapes = (
            {name: self.short_names.get(name, word) for name, word in words.items()}
            for words in (self.colours, self.shapes)
        )
        return replace(self, colours=colours, shapes=shapes)


ENGLISH = Language(
    colours={name: name for name in COLOURS},
    shapes={name: name for name in SHAPES},
    backgrounds={name: name for name in BACKGROUNDS},
    relations={
        "above": "above", "below": "below",
        "left of": "to the left of", "right of": "to the right of",
    },
    motions={
        "right": (
            "moving right", "moving to the right", "going right", "moves right", "sliding right",
            "moving from left to right",
        ),
        "left": (
            "moving left", "moving to the left", "going left", "moves left", "sliding left",
            "moving from right to left",
        ),
        "up": ("moving up", "moving upwards", "going up", "moves up", "rising"),
        "down": ("moving down", "moving downwards", "going down", "moves down", "falling"),
        "up right": ("moving up and right", "moves up and to the right", "moving to the top right"),
        "up left": ("moving up and left", "moves up and to the left", "moving to the top left"),
        "down right": (
            "moving down and right", "moves down and to the right", "moving to the bottom right",
        ),
        "down left": (
            "moving down and left", "moves down and to the left", "moving to the bottom left",
        ),
        "circling": ("circling", "moving round and round", "circling around", "orbiting"),
        "bouncing": ("bouncing", "bouncing up and down", "jumping up and down", "jumping"),
        "growing": ("growing", "getting bigger", "growing larger", "expanding"),
        "shrinking": ("shrinking", "getting smaller", "shrinking in size", "contracting"),
        "rotating": ("rotating", "spinning", "turning in place", "rotates"),
        "blinking": ("blinking", "flashing", "blinking on and off", "blinks"),
        "still": ("standing still", "not moving", "staying still", "at rest"),
    },
    adjectives={"still": "still", "rotating": "rotating", "blinking": "blinking"},
    qualified="a {adjective} {colour} {shape}",
    moving="a {colour} {shape} {motion}",
    single=(
        (55, "a {colour} {shape} {motion} on a {place} background"),
        (10, "{colour} {shape} {motion}, {place} background"),
        (7, "on a {place} background, a {colour} {shape} is {motion}"),
        (8, "a {colour} {shape} {motion}"),
        (6, "the {shape} {motion}"),
        (5, "{motion}"),
        (4, "a {colour} {shape} on {place}"),
        (5, "video of a {colour} {shape} {motion} against a {place} background."),
    ),
    pair=(
        (55, "a {colour} {shape} {motion} {relation} {other} on a {place} background"),
        (15, "{colour} {shape} {motion} {relation} {other}, {place} background"),
        (15, "on a {place} background, a {colour} {shape} {motion} {relation} {other}"),
        (15, "a {colour} {shape} {motion} {relation} {other}"),
    ),
    fillers=(
        "a", "nice", "simple", "beautiful", "cinematic", "video", "of", "the", "clip", "4k",
        "smooth", "slow", "please", "shot", "animation", "scene", "with", "bright", "colour",
        "color", "high", "quality", "detailed", "style", "realistic", "and", "in", "at", "to",
        "from", "camera", "light",
    ),
)  # fmt: skip

CHINESE = Language(
    colours={
        "red": "红色", "green": "绿色", "blue": "蓝色", "yellow": "黄色", "magenta": "洋红色",
        "cyan": "青色", "orange": "橙色", "white": "白色", "black": "黑色", "purple": "紫色",
        "pink": "粉色", "lime": "黄绿色",
    },
    shapes={
        "circle": "圆形", "square": "正方形", "triangle": "三角形", "star": "五角星",
        "cross": "十字", "ring": "圆环", "heart": "心形", "moon": "月牙",
    },
    backgrounds={
        "black": "黑色", "gray": "灰色", "white": "白色", "brown": "棕色", "navy": "深蓝色",
        "sunset": "日落", "sky": "天空", "forest": "森林",
    },
    relations={"above": "上方", "below": "下方", "left of": "左边", "right of": "右边"},
    motions={
        "right": ("向右移动", "往右移动", "向右滑动", "从左向右移动"),
        "left": ("向左移动", "往左移动", "向左滑动", "从右向左移动"),
        "up": ("向上移动", "往上移动", "上升"),
        "down": ("向下移动", "往下移动", "下落"),
        "up right": ("向右上方移动", "往右上移动", "斜着向右上移动"),
        "up left": ("向左上方移动", "往左上移动", "斜着向左上移动"),
        "down right": ("向右下方移动", "往右下移动", "斜着向右下移动"),
        "down left": ("向左下方移动", "往左下移动", "斜着向左下移动"),
        "circling": ("绕圈移动", "转圈移动", "沿着圆圈移动"),
        "bouncing": ("上下弹跳", "弹跳", "跳动"),
        "growing": ("变大", "逐渐变大", "放大"),
        "shrinking": ("变小", "逐渐变小", "缩小"),
        "rotating": ("旋转", "原地旋转", "自转"),
        "blinking": ("闪烁", "一闪一闪", "忽明忽暗"),
        "still": ("静止不动", "保持不动", "不移动"),
    },
    adjectives={"still": "静止的", "rotating": "旋转的", "blinking": "闪烁的"},
    qualified="一个{adjective}{colour}{shape}",
    moving="一个{motion}的{colour}{shape}",
    single=(
        (45, "{place}背景上，一个{colour}的{shape}{motion}"),
        (15, "一个{colour}的{shape}在{place}背景上{motion}"),
        (12, "{colour}{shape}{motion}，{place}背景"),
        (10, "一个{colour}的{shape}{motion}"),
        (6, "{shape}{motion}"),
        (5, "{motion}"),
        (7, "一段视频：{colour}的{shape}{motion}，{place}背景。"),
    ),
    pair=(
        (55, "{place}背景上，一个{colour}的{shape}在{other}{relation}{motion}"),
        (15, "一个{colour}的{shape}在{other}的{relation}{motion}，{place}背景"),
        (15, "{colour}{shape}在{other}{relation}{motion}，{place}背景"),
        (15, "一个{colour}的{shape}在{other}{relation}{motion}"),
    ),
    fillers=(
        "请", "生成", "视频", "一段", "高清", "画面", "漂亮的", "简单的", "动画", "镜头", "4k",
        "流畅", "场景", "风格", "真实", "电影", "慢慢", "里", "有", "和",
    ),
    short_names={
        "red": "红", "green": "绿", "blue": "蓝", "yellow": "黄", "magenta": "洋红", "cyan": "青",
        "orange": "橙", "white": "白", "black": "黑", "purple": "紫", "pink": "粉",
        "lime": "黄绿", "circle": "圆", "square": "方块", "star": "星星", "heart": "爱心",
        "moon": "月亮",
    },
    words={
        "向右": "right", "往右": "right", "从左向右": "from left to right",
        "向左": "left", "往左": "left", "从右向左": "from right to left",
        "向上": "up", "往上": "up", "向下": "down", "往下": "down",
        "向右上": "up right", "向右上方": "up right", "往右上": "up right",
        "向左上": "up left", "向左上方": "up left", "往左上": "up left",
        "向右下": "down right", "向右下方": "down right", "往右下": "down right",
        "向左下": "down left", "向左下方": "down left", "往左下": "down left",
        "移动": "moving", "滑动": "sliding", "上升": "rising", "下落": "falling",
        "绕圈": "circling", "转圈": "circling", "沿着": "around", "圆圈": "circling",
        "上下弹跳": "bouncing", "弹跳": "bouncing", "跳动": "jumping",
        "变大": "growing", "放大": "growing", "变小": "shrinking", "缩小": "shrinking",
        "旋转": "rotating", "自转": "rotating", "原地": "in place",
        "闪烁": "blinking", "一闪一闪": "blinking", "忽明忽暗": "blinking",
        "静止": "still", "不动": "still", "不移动": "still",
        "一个": "a", "背景": "background",
    },
)  # fmt: skip

LANGUAGES = {"en": ENGLISH, "zh": CHINESE}


def translate() -> dict[str, str]:
    """Returns every Chinese word with what it means in English."""
    meanings = dict(CHINESE.words)
    for names in (CHINESE.colours, CHINESE.shapes, CHINESE.backgrounds, CHINESE.short_names):
        meanings |= {word: name for name, word in names.items()}
    return meanings | {word: name.split()[0] for name, word in CHINESE.relations.items()}
