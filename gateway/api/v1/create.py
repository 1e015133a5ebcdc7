"""`POST /v1/videos` and its dry run `POST /v1/videos/estimate`: the same body, the same checks."""

import io
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel

from gateway.accounts.service import Caller
from gateway.api.deps import CallerDep, ServicesDep
from gateway.api.v1.body import (
    IMAGE_FIELD,
    KEYFRAMES_FIELD,
    LAST_FIELD,
    REFERENCES_FIELD,
    VideoBody,
    VideoBodyDep,
)
from gateway.api.v1.request_schema import REQUEST_BODY
from gateway.api.v1.schemas import EtaSeconds, VideoMetadata, VideoObject, eta_seconds
from gateway.api.v1.videos import look
from gateway.domain.entitlement import cheaper_request, check_plan
from gateway.domain.errors import InvalidRequest, PlanLimit
from gateway.domain.pricing import Breakdown
from gateway.ids import JOB_PREFIX, new_id
from gateway.jobs.admission import build_spec, check_pictures, find_card
from gateway.jobs.audio import GivenAudio, accept_audio
from gateway.jobs.files import input_key, job_folder, store_file
from gateway.jobs.foresight import Request
from gateway.jobs.idempotency import identify
from gateway.jobs.images import NormalisedImage, normalise_image
from gateway.jobs.request import AudioSpeech, VideoRequest, kind_of, parse_request
from gateway.jobs.speech import measure_speech
from gateway.jobs.submit import Order, Placed, describe, submit
from gateway.points.service import available_points, refresh
from gateway.protocol import KEYFRAMES, REFERENCES, AttemptRef, InputRole
from gateway.services import Services
from gateway.settings import Limits
from gateway.streams import Change
from models.card import ModelCard
from models.spec import VideoSpec

router = APIRouter(prefix="/v1/videos", tags=["videos"])


class Estimate(BaseModel):
    """What a request would cost this account now. Nothing is held.

    Attributes:
        affordable: whether the available points cover it.
        plan_allows: whether the account's plan does; `plan_limit` says what it does not.
        cheaper_request: the dearest request of the kind that would fit, if this one does not.
        eta_seconds: when the video would be there; null while no worker lives.
    """

    object: str = "video.estimate"
    points: int
    price_version: str
    breakdown: Breakdown
    available: int
    affordable: bool
    plan: str
    plan_allows: bool
    plan_limit: dict[str, Any] | None
    cheaper_request: dict[str, Any] | None
    eta_seconds: EtaSeconds | None


@router.post("", openapi_extra=REQUEST_BODY)
def create_video(
    # First: nothing is read of a request whose key is no good.
    caller: CallerDep,
    body: VideoBodyDep,
    services: ServicesDep,
    response: Response,
    idempotency_key: Annotated[str | None, Header()] = None,
    x_stainless_retry_count: Annotated[int, Header()] = 0,
) -> VideoObject:
    """Submit a job; `input_reference` makes it image-to-video, `speech` a digital human."""
    asked = _read(body, services)
    order = Order(
        job_id=new_id(JOB_PREFIX, services.clock.now()),
        card=asked.card,
        spec=asked.spec,
        image=asked.image,
        audio=asked.audio,
        more_pictures=asked.more_pictures,
        client_metadata=asked.request.metadata,
        identity=identify(
            asked.request,
            image_sha256=asked.image.sha256 if asked.image else None,
            audio_sha256=asked.audio.sha256 if asked.audio else None,
            more_sha256={role: each.sha256 for role, each in asked.more_pictures.items()},
            idempotency_key=idempotency_key,
            num_retries=x_stainless_retry_count,
        ),
    )
    placed = place_order(services, caller, order)
    if placed.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return look(services, caller, placed.job_id, response)


def place_order(services: Services, caller: Caller, order: Order) -> Placed:
    """Commit the order's job, then ring for it and tell; a replay is left as it is.

    Raises:
        AccountSuspended, PlanLimit, TooManyJobs, DailyLimit, InsufficientPoints,
        IdempotencyMismatch: nothing is left.
    """
    placed = _place(services, caller, order)
    if not placed.is_replay:
        services.queue.ring(order.card.pool, [AttemptRef(job_id=placed.job_id, attempt=0)])
        services.queue.announce(Change.SUBMITTED, {placed.job_id: caller.account_id})
    return placed


@router.post("/estimate", openapi_extra=REQUEST_BODY)
def estimate_video(caller: CallerDep, body: VideoBodyDep, services: ServicesDep) -> Estimate:
    """The price of a request, whether plan and points allow it, and when. Holds nothing."""
    asked = _read(body, services)
    card, spec = asked.card, asked.spec
    plans, prices = services.configuration.plans, services.configuration.prices
    with services.database.write() as connection:
        plan = refresh(connection, caller.account_id, plans=plans, now=services.clock.now())
        available = available_points(connection, caller.account_id)
    request = Request(card.pool, caller.account_id, plan.id, spec.batch_key)
    with services.database.read() as connection:
        eta = services.forecasts.foresee(connection, request)
    quote = prices.quote(spec)
    limit = None
    try:
        check_plan(spec, plan, plans)
    except PlanLimit as refusal:
        limit = {"param": refusal.param, "message": refusal.message, **refusal.details()}
    cheaper = None
    if limit is not None or quote.points > available:
        cheaper = cheaper_request(spec, card, plan=plan, prices=prices, available=available)
    return Estimate(
        points=quote.points,
        price_version=quote.price_version,
        breakdown=quote.breakdown,
        available=available,
        affordable=quote.points <= available,
        plan=plan.id,
        plan_allows=limit is None,
        plan_limit=limit,
        cheaper_request=describe(cheaper, prices.quote(cheaper).points) if cheaper else None,
        eta_seconds=eta_seconds(eta),
    )


@dataclass(frozen=True)
class _Asked:
    """A request that some account could make."""

    request: VideoRequest
    card: ModelCard
    spec: VideoSpec
    image: NormalisedImage | None
    audio: GivenAudio | None
    more_pictures: dict[InputRole, NormalisedImage]


def _read(body: VideoBody, services: Services) -> _Asked:
    """Everything about a request that can be checked without asking whose it is."""
    limits = services.settings.limits
    request = parse_request(body.fields)
    _refuse_reserved_metadata(request)
    kind = kind_of(request, has_image=body.image is not None)
    card = find_card(request.model, services.configuration.catalog, kind)
    audio, speech_s = None, None
    if isinstance(request.speech, AudioSpeech):
        audio = accept_audio(request.speech.audio, limits)
        speech_s = measure_speech(audio, card)
    elif request.speech is not None:
        speech_s = measure_speech(request.speech, card, request.emotion)
    spec = build_spec(request, card, kind=kind, speech_s=speech_s)
    check_pictures(
        card,
        spec,
        has_last=body.last_image is not None,
        num_references=len(body.reference_images),
    )
    image = None
    if body.image is not None:
        image = normalise_image(body.image, limits, param=IMAGE_FIELD)
    return _Asked(request, card, spec, image, audio, _more_pictures(body, request, limits))


def _more_pictures(
    body: VideoBody, request: VideoRequest, limits: Limits
) -> dict[InputRole, NormalisedImage]:
    """The last frame, the references and the keyframes, each in its role."""
    found = {}
    if body.last_image is not None:
        last = normalise_image(body.last_image, limits, param=LAST_FIELD)
        found[InputRole.LAST_IMAGE] = last
    # No card takes more than there are roles.
    for role, data in zip(REFERENCES, body.reference_images, strict=False):
        found[role] = normalise_image(data, limits, param=REFERENCES_FIELD)
    for role, keyframe in zip(KEYFRAMES, request.keyframes, strict=False):
        found[role] = normalise_image(keyframe.image, limits, param=KEYFRAMES_FIELD)
    return found


def _place(services: Services, caller: Caller, order: Order) -> Placed:
    """Store the files, then decide everything in one transaction; no job, no file."""
    placed = None
    try:
        for file in order.files:
            key = input_key(order.job_id, file.role)
            store_file(services.store, key, io.BytesIO(file.content), file.content_type)
        with services.database.write() as connection:
            placed = submit(
                connection,
                caller,
                order,
                plans=services.configuration.plans,
                prices=services.configuration.prices,
                now=services.clock.now(),
            )
    finally:
        if order.files and (placed is None or placed.is_replay):
            services.store.delete_prefix(job_folder(order.job_id))
    return placed


def _refuse_reserved_metadata(request: VideoRequest) -> None:
    reserved = sorted(VideoMetadata.model_fields)
    for name in request.metadata:
        if name in reserved:
            raise InvalidRequest(
                f"metadata.{name} is a name of ours", param="metadata", limit=reserved, value=name
            )
