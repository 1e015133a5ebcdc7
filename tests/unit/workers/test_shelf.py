"""Models on a device: what stays, what goes, and in which order."""

import gc
import weakref
from collections.abc import Sequence

import pytest

from models.card import ModelCard
from models.cardparts import FloatRange, FrameRule, IntRange
from models.pipeline import Clip, LoadFailed, StepCallback
from models.spec import Kind, VideoSpec
from workers.selftest import cheapest_spec
from workers.shelf import Shelf


class Weights:
    """A renderer of the size that `sizes` says; a negative one fails its first load."""

    def __init__(self, card: ModelCard, sizes: dict[str, int], loads: list[str]) -> None:
        self._id = card.id
        self._sizes = sizes
        self._loads = loads

    @property
    def memory_bytes(self) -> int:
        """As the test says."""
        return self._sizes.get(self._id, 0)

    def load(self, card: ModelCard, device: str) -> None:
        """Fails where the test says so."""
        self._loads.append(f"{card.id} on {device}")
        if self.memory_bytes < 0:
            self._sizes[self._id] *= -1
            raise LoadFailed("no room")

    def generate(
        self, specs: Sequence[VideoSpec], on_step: StepCallback, *, low_memory: bool = False
    ) -> Sequence[Clip]:
        """Never called."""
        raise NotImplementedError


class Bench:
    """A shelf and what its models take."""

    def __init__(self, budget_bytes: int, **sizes: int) -> None:
        self.loads: list[str] = []
        self.shelf = Shelf("cpu", budget_bytes, lambda card: Weights(card, sizes, self.loads))

    def use(self, *names: str, memory_bytes: int | None = None) -> tuple[str, ...]:
        """Use models in turn; those on the shelf afterwards."""
        for name in names:
            card = make_card(name, memory_bytes)
            if self.shelf.find(card) is None:
                self.shelf.load(card)
        return self.shelf.models


def make_card(name: str = "m", memory_bytes: int | None = None) -> ModelCard:
    """A card of no particular model."""
    return ModelCard(
        id=name,
        title=name,
        adapter="x:Y",
        checkpoint="none",
        licence="Apache-2.0",
        kinds=[Kind.TEXT_TO_VIDEO],
        sizes=["128x64", "64x64"],
        size_multiple=2,
        fps=[8, 4],
        seconds=[2, 1],
        num_frames=FrameRule(min=1, max=100),
        num_inference_steps=IntRange(min=2, max=9, default=4),
        guidance_scale=FloatRange(min=1, max=8, default=1),
        max_prompt_chars=100,
        deadline_s=60,
        memory_bytes=memory_bytes,
        modes={"pro": 8, "standard": 4},
    )


def test_without_a_budget_one_model_is_kept() -> None:
    assert Bench(0, a=5, b=5).use("a", "b") == ("b",)


def test_a_model_that_is_there_is_not_loaded_again() -> None:
    bench = Bench(100, a=5)
    bench.use("a", "a")
    assert bench.loads == ["a on cpu"]


def test_the_first_load_of_unknown_size_gets_the_device_alone() -> None:
    assert Bench(100, a=5, b=5).use("a", "b") == ("b",)


def test_sizes_are_learnt() -> None:
    bench = Bench(100, a=50, b=50)
    assert bench.use("a", "b", "a") == ("b", "a")


def test_what_the_cards_say_is_known_at_once() -> None:
    assert Bench(100).use("a", "b", memory_bytes=50) == ("a", "b")
    assert Bench(99).use("a", "b", memory_bytes=50) == ("b",)


def test_the_least_recently_used_goes_first() -> None:
    bench = Bench(100)
    assert bench.use("a", "b", "a", "c", memory_bytes=50) == ("a", "c")


def test_what_goes_is_gone_though_it_refers_to_itself() -> None:
    kept: list[weakref.ref[Weights]] = []

    def create(card: ModelCard) -> Weights:
        weights = Weights(card, {}, [])
        weights.itself = weights  # type: ignore[attr-defined]  # as modules do
        kept.append(weakref.ref(weights))
        return weights

    shelf = Shelf("cpu", 0, create)
    shelf.load(make_card("a"))
    assert gc.get_freeze_count() > 0, "what stays is not collected again and again"
    assert kept[0]() is not None
    shelf.load(make_card("b"))
    assert kept[0]() is None


def test_no_more_goes_than_has_to() -> None:
    bench = Bench(100)
    bench.use("a", memory_bytes=20)
    bench.use("b", memory_bytes=60)
    assert bench.use("c", memory_bytes=40) == ("b", "c")


def test_one_model_may_take_more_than_the_budget() -> None:
    assert Bench(100).use("a", "b", memory_bytes=500) == ("b",)


def test_a_load_that_fails_beside_others_is_tried_alone() -> None:
    bench = Bench(100, b=-10)
    bench.use("a", memory_bytes=10)
    bench.shelf._sizes["b"] = 10
    assert bench.use("b") == ("b",)
    assert bench.loads == ["a on cpu", "b on cpu", "b on cpu"]


def test_a_load_that_fails_alone_fails() -> None:
    with pytest.raises(LoadFailed):
        Bench(100, a=-10).use("a")


def test_the_self_test_is_the_cheapest_clip_of_the_card(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("selftest")
    card = make_card()
    spec = cheapest_spec(card, folder)
    card.check(spec)
    assert (spec.size, spec.fps, spec.num_frames, spec.num_inference_steps) == ("64x64", 4, 5, 2)
    assert spec.image is None

    from_image = make_card().model_copy(update={"kinds": [Kind.IMAGE_TO_VIDEO]})
    spec = cheapest_spec(from_image, folder)
    from_image.check(spec)
    assert spec.image is not None
    assert spec.image.stat().st_size > 0
