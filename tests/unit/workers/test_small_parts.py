"""Failures in words, progress in measure, waiting, leases, signs of life, and the settings."""

import errno
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rq.exceptions import StopRequested
from typer.testing import CliRunner

from gateway.protocol import MAX_MESSAGE_CHARS, FailCode, FailureCode, LabelFields
from models.card import SpecError
from models.pipeline import Canceled, CheckFailed, InputRefused, OutOfMemory
from models.refusal import Refusal
from models.spec import Kind, Stage, VideoSpec
from workers.cli import worker
from workers.failures import describe_failure
from workers.gateway_client import GatewayUnavailable
from workers.live import ProgressGate
from workers.media.label import LabelMissing
from workers.messages import RenderOrder
from workers.pulse import PULSE_FILE, Pulse, has_pulse, write_unfit
from workers.quarantine import Quarantine
from workers.retrying import GaveUp, backoff_s, until_available
from workers.shutdown import StopSignal

ORDER = RenderOrder(
    "job",
    1,
    VideoSpec(
        kind=Kind.TEXT_TO_VIDEO,
        model="m",
        prompt="p",
        width=64,
        height=64,
        num_frames=5,
        fps=4,
        num_inference_steps=4,
        guidance_scale=1,
        seed=1,
    ),
    LabelFields(producer="x", produce_id="y"),
    Path("/secret/place"),
    claimed_at=0.0,
    deadline_at=0.0,
)


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (Canceled(), FailureCode.CANCELED, False),
        (OutOfMemory("/secret/place"), FailureCode.OUT_OF_MEMORY, False),
        (MemoryError(), FailureCode.OUT_OF_MEMORY, False),
        (SpecError("fps", "/secret/place", limit=1, value=2), FailureCode.MODEL_ERROR, False),
        (LabelMissing("/secret/place"), FailureCode.LABEL_MISSING, False),
        (InputRefused(Refusal.NO_FACE, "No face."), Refusal.NO_FACE, False),
        (OSError(errno.ENOSPC, "/secret/place"), FailureCode.WORKER_LOST, True),
        (RuntimeError("/secret/place"), FailureCode.MODEL_ERROR, True),
    ],
)
def test_an_exception_becomes_a_safe_failure(
    error: Exception, code: FailCode, *, retryable: bool
) -> None:
    failed = describe_failure(ORDER, error)
    assert (failed.code, failed.retryable) == (code, retryable)
    assert "secret" not in failed.message


def test_what_is_wrong_with_an_input_is_told_in_its_own_words() -> None:
    refused = InputRefused(Refusal.FACE_TOO_SMALL, "The eyes are 12 pixels apart. " * 40)
    failed = describe_failure(ORDER, refused)
    assert failed.message.startswith("The eyes are 12 pixels apart.")
    assert len(failed.message) == MAX_MESSAGE_CHARS


def test_a_failed_check_tells_what_was_measured() -> None:
    failed = describe_failure(ORDER, CheckFailed("lips and sound correlate by 0.02, needed 0.3"))
    assert (failed.code, failed.retryable) == (FailureCode.CHECK_FAILED, False)
    assert "correlate by 0.02, needed 0.3" in failed.message


def test_progress_is_thinned_out_but_never_a_new_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(0, 0.1)
    monkeypatch.setattr("workers.live.time.monotonic", lambda: next(seconds))
    gate = ProgressGate()

    denoising = [gate.passes(Stage.DENOISING) for _ in range(10)]
    assert denoising == [True, False, False, True, False, False, True, False, False, True]
    assert gate.passes(Stage.ENCODING)
    assert not any(gate.passes(Stage.DECODING) for _ in range(10))


def test_waits_double_up_to_the_cap() -> None:
    assert list(itertools.islice(backoff_s(2.0), 5)) == [0.25, 0.5, 1.0, 2.0, 2.0]


def test_a_call_is_repeated_until_the_gateway_answers() -> None:
    troubles = [GatewayUnavailable("x")]

    def call() -> str:
        if troubles:
            raise troubles.pop()
        return "yes"

    assert until_available(call, give_up=lambda: False) == "yes"


def test_a_call_is_given_up_when_nobody_needs_it() -> None:
    def call() -> None:
        raise GatewayUnavailable("x")

    with pytest.raises(GaveUp):
        until_available(call, give_up=lambda: True)


def test_a_stop_interrupts_only_where_nothing_is_lost() -> None:
    stop = StopSignal()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop.install()
    try:
        with pytest.raises(StopRequested):
            _be_told_to_stop_while_busy(stop)
        with pytest.raises(StopRequested), stop.interrupting():
            pytest.fail("an earlier request was forgotten")
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _be_told_to_stop_while_busy(stop: StopSignal) -> None:
    with stop.interrupting():
        with stop.undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.is_requested
        pytest.fail("the request was forgotten")


def test_drain_time_is_counted_from_the_request() -> None:
    stop = StopSignal()
    assert not stop.is_drained(0)
    stop._on_signal(signal.SIGTERM, None)
    assert stop.is_drained(0)
    assert not stop.is_drained(60)


def test_health_tells_a_live_worker_from_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELGATE_SPOOL_DIR", str(tmp_path))
    assert CliRunner().invoke(worker, ["health"]).exit_code == 1

    Pulse(tmp_path).beat()
    assert has_pulse(tmp_path)
    assert CliRunner().invoke(worker, ["health"]).exit_code == 0

    write_unfit(tmp_path, "the model does not load")
    unfit = CliRunner().invoke(worker, ["health"])
    assert (unfit.exit_code, unfit.output.strip()) == (1, "the model does not load")
    write_unfit(tmp_path, None)
    write_unfit(tmp_path, None)
    assert CliRunner().invoke(worker, ["health"]).exit_code == 0

    os.utime(tmp_path / PULSE_FILE, (0, 0))
    assert CliRunner().invoke(worker, ["health"]).exit_code == 1


def test_only_failures_in_a_row_lead_to_quarantine() -> None:
    quarantine = Quarantine(2)
    reasons = []
    for what in ("renderer_crashed", None, "renderer_crashed", "out_of_memory", None):
        if what is None:
            quarantine.clear()
        else:
            quarantine.blame(what)
        reasons.append(quarantine.reason)
    assert reasons == [None, None, None, "2 failures in a row, the last: out_of_memory", None]


def test_a_worker_without_a_token_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REELGATE_WORKER_TOKEN", raising=False)
    result = CliRunner().invoke(worker, [])
    assert result.exit_code == 2
    assert "REELGATE_WORKER_TOKEN: Field required" in result.output


def test_names_that_no_gateway_takes_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REELGATE_WORKER_TOKEN", "x" * 16)
    result = CliRunner().invoke(worker, ["--pool", "p" * 33])
    assert result.exit_code == 2
    assert "REELGATE_POOL: String should have at most 32 characters" in result.output
    monkeypatch.setenv("REELGATE_WORKER_NAME", "a\tb")
    result = CliRunner().invoke(worker, [])
    assert "REELGATE_WORKER_NAME: String should match pattern" in result.output


def test_the_parent_never_loads_what_belongs_to_the_child() -> None:
    code = (
        "import sys, workers.host, workers.child_process;"
        "print([m for m in ('torch', 'diffusers', 'numpy', 'av') if m in sys.modules])"
    )
    done = subprocess.run(  # our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
