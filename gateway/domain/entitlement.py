"""What a plan allows, and what to offer instead of a refusal. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.domain.errors import PlanLimit
from gateway.domain.plans import Plan, Plans
from gateway.domain.pricing import PriceList, billed_seconds, offered_specs
from models.card import ModelCard
from models.spec import Kind, VideoSpec


@dataclass(frozen=True)
class Excess:
    """A parameter that a plan does not allow as asked."""

    param: str
    limit: object
    value: object


def check_plan(spec: VideoSpec, plan: Plan, plans: Plans) -> None:
    """Make sure that `plan` allows `spec`.

    Raises:
        PlanLimit: names the first parameter beyond the plan and the smallest plan that allows all.
    """
    excess = next(_excesses(spec, plan), None)
    if excess is None:
        return
    enough = next((each for each in plans.plans if allows(each, spec)), None)
    raise PlanLimit(
        param=excess.param,
        limit=excess.limit,
        value=excess.value,
        plan=plan.id,
        smallest_plan=enough.id if enough else None,
    )


def allows(plan: Plan, spec: VideoSpec) -> bool:
    """Whether `plan` allows `spec`."""
    return next(_excesses(spec, plan), None) is None


def cheaper_request(
    wanted: VideoSpec, card: ModelCard, *, plan: Plan, prices: PriceList, available: int
) -> VideoSpec | None:
    """The dearest request of the same kind and model that `plan` allows and `available` covers.

    None is sharper, smoother or longer than `wanted`; among equally dear ones, the one most like
    it. A digital human stays as long as its speech wherever that can be had. With keyframes rate
    and length stay, or they would be at other places.
    """
    offered = [spec for spec in offered_specs(card) if _is_no_more(spec, wanted)]
    choices = [offered]
    if wanted.kind is Kind.DIGITAL_HUMAN:
        seconds = billed_seconds(wanted)
        choices = [
            [
                spec.model_copy(update={"num_frames": math.ceil(seconds * spec.fps)})
                for spec in offered
            ],
            [spec for spec in offered if billed_seconds(spec) < seconds],
        ]
    for specs in choices:
        affordable = [
            (prices.quote(spec).points, _likeness(spec, wanted), spec)
            for spec in specs
            if allows(plan, spec) and prices.quote(spec).points <= available
        ]
        if affordable:
            return max(affordable, key=lambda each: each[:2])[2]
    return None


def _is_no_more(spec: VideoSpec, wanted: VideoSpec) -> bool:
    is_sharper = min(spec.width, spec.height) > min(wanted.width, wanted.height)
    # The speech tells how long a digital human is.
    has_speech = spec.kind is Kind.DIGITAL_HUMAN
    is_longer = billed_seconds(spec) > billed_seconds(wanted) and not has_speech
    has_places = (spec.fps, spec.num_frames) == (wanted.fps, wanted.num_frames)
    return (
        spec.kind is wanted.kind
        and not is_sharper
        and not is_longer
        and spec.fps <= wanted.fps
        and (has_places or not wanted.keyframes)
    )


def _likeness(spec: VideoSpec, wanted: VideoSpec) -> int:
    pairs = (
        (spec.size, wanted.size),
        (spec.mode, wanted.mode),
        (spec.fps, wanted.fps),
        (spec.num_frames, wanted.num_frames),
        (spec.generate_audio, wanted.generate_audio),
    )
    return sum(ours == theirs for ours, theirs in pairs)


def _excesses(spec: VideoSpec, plan: Plan) -> Iterator[Excess]:
    choices: tuple[tuple[str, list[str] | None, str], ...] = (
        ("model", plan.models, spec.model),
        ("kind", [*plan.kinds], spec.kind),
        ("mode", plan.modes, spec.mode),
    )
    for param, allowed, choice in choices:
        if allowed is not None and choice not in allowed:
            yield Excess(param, allowed, str(choice))
    seconds = float(billed_seconds(spec))
    bounds = (
        ("size", plan.max_resolution, min(spec.width, spec.height)),
        ("seconds", plan.max_seconds, int(seconds) if seconds.is_integer() else seconds),
        ("fps", plan.max_fps, spec.fps),
    )
    for param, most, value in bounds:
        if value > most:
            yield Excess(param, most, value)
