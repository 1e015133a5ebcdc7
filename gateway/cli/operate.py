"""`reelgate admin workers | jobs | queue | job | requeue | drain | undrain`: the operator's view.

Works with and without a gateway. Answers go to stdout, as tables or as one JSON object; logs and
refusals to stderr.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, NoReturn

import structlog
import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from gateway.admin.log import Action, Entry, append, lock_log
from gateway.admin.orders import DrainWorker, UndrainWorker, WorkerOrder
from gateway.admin.workers import change_worker
from gateway.cli.desk import KeyOption, ReasonOption, open_services, sign
from gateway.domain.errors import StaleAttempt
from gateway.domain.jobs import JobState
from gateway.jobs.lifecycle import Moved, take_back
from gateway.jobs.operate import (
    JobCase,
    WorkerLine,
    find_case,
    list_job_lines,
    list_queue,
    list_worker_lines,
)
from gateway.jobs.workers import WorkerState
from gateway.protocol import AttemptRef
from gateway.streams import Change

operate = typer.Typer(help="Workers, jobs and queues.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_WorkerName = Annotated[str, typer.Argument(metavar="WORKER")]
_JobId = Annotated[str, typer.Argument(metavar="ID")]
_WIDE = 10_000
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)

log = structlog.get_logger()


@operate.command("workers")
def show_workers(*, as_json: _Json = False) -> None:
    """How workers stand: idle, busy, draining, unfit and why, dead and since when."""
    with open_services() as services, services.database.read() as connection:
        now = services.clock.now()
        alive_for = timedelta(seconds=services.settings.lease_s)
        lines = list_worker_lines(connection, now=now, alive_for=alive_for)
    if as_json:
        _print_json({"workers": _plain(lines)})
        return
    _print_table(
        ["worker", "state", "pool", "models", "seen", "running", "last attempt", "failed in a row"],
        [
            (
                line.name,
                _state(line),
                line.pool,
                "\n".join(line.loaded_models),
                _ago(line.last_seen_at, now),
                "\n".join(line.running),
                line.last_outcome or _ago(line.last_attempt_at, now),
                line.failures_in_a_row,
            )
            for line in lines
        ],
    )


@operate.command("jobs")
def show_jobs(
    *,
    state: Annotated[JobState | None, typer.Option(help="Only these.")] = None,
    account: Annotated[str | None, typer.Option(help="Only of the account of this name.")] = None,
    pool: Annotated[str | None, typer.Option(help="Only of this pool.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    as_json: _Json = False,
) -> None:
    """The newest jobs."""
    with open_services() as services, services.database.read() as connection:
        now = services.clock.now()
        lines = list_job_lines(
            connection, state=state, account_name=account, pool=pool, limit=limit
        )
    if as_json:
        _print_json({"jobs": _plain(lines)})
        return
    _print_table(
        ["job", "account", "state", "pool", "model", "attempt", "worker", "sent", "error"],
        [
            (
                line.id,
                f"{line.account} ({line.plan})",
                line.state,
                line.pool,
                line.model,
                line.attempt,
                line.worker,
                _ago(line.created_at, now),
                line.error_code,
            )
            for line in lines
        ],
    )


@operate.command("queue")
def show_queue(*, as_json: _Json = False) -> None:
    """How many wait and run, by pool and plan, and for how long."""
    with open_services() as services, services.database.read() as connection:
        lines = list_queue(connection, now=services.clock.now())
    if as_json:
        _print_json({"queue": _plain(lines)})
        return
    _print_table(
        ["pool", "plan", "waiting", "running", "oldest waits"],
        [
            (line.pool, line.plan, line.waiting, line.running, _span(line.oldest_wait_s))
            for line in lines
        ],
    )


@operate.command("job")
def show_job(
    job_id: _JobId,
    *,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="With what the client wrote.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """One job: its parameters, its attempts, its points."""
    with open_services() as services, services.database.read() as connection:
        case = _get_case(connection, job_id, show_prompt=show_prompt)
    if as_json:
        _print_json(_plain(case))
        return
    facts = {**_plain(case.job), "lease_until": case.lease_until, "error": case.error_message}
    held = case.hold
    if held is not None:
        charged = "open" if held.charged is None else f"{held.charged} charged"
        facts["points"] = f"{held.points} held, {charged} (prices {held.price_version})"
    shown = {name: value for name, value in facts.items() if value is not None}
    _print_table(["job", ""], [*shown.items(), *case.spec.items()])
    _print_table(
        ["attempt", "worker", "from", "to", "outcome", "error"],
        [tuple(_plain(each).values()) for each in case.attempts],
    )


@operate.command("requeue")
def requeue(
    job_id: _JobId,
    *,
    reason: Annotated[str, typer.Option(help="Why; for the log.")],
    as_json: _Json = False,
) -> None:
    """Take a running job from its worker and let it wait again; its hold is kept."""
    with open_services() as services:
        with services.database.read() as connection:
            case = _get_case(connection, job_id)
        try:
            with services.database.write() as connection:
                moved = take_back(
                    connection,
                    job_id,
                    plans=services.configuration.plans,
                    now=services.clock.now(),
                )
                lost = {"attempt": moved.attempt, "worker": case.job.worker}
                _log_requeue(connection, moved, reason, lost, now=services.clock.now())
        except StaleAttempt:
            _refuse(f"job {job_id} does not run")
        log.warning("job_taken_back", job_id=job_id, reason=reason, **lost)
        services.queue.ring(moved.pool, [AttemptRef(job_id=job_id, attempt=moved.attempt)])
        services.queue.announce(Change.REQUEUED, {job_id: moved.account_id})
    if as_json:
        _print_json({"job_id": job_id, "state": moved.state, **lost})
    else:
        typer.echo(f"{job_id} waits again; attempt {moved.attempt} of {case.job.worker} is lost")


@operate.command("drain")
def drain(
    worker: _WorkerName, *, reason: ReasonOption, key: KeyOption = None, as_json: _Json = False
) -> None:
    """Give a worker no more jobs, until `undrain`. What it has, it finishes."""
    _change_worker(DrainWorker, worker, reason, key, as_json=as_json)


@operate.command("undrain")
def undrain(
    worker: _WorkerName, *, reason: ReasonOption, key: KeyOption = None, as_json: _Json = False
) -> None:
    """Give a worker jobs again."""
    _change_worker(UndrainWorker, worker, reason, key, as_json=as_json)


def _change_worker(
    order: type[WorkerOrder], worker: str, reason: str, key: str | None, *, as_json: bool
) -> None:
    with open_services() as services, services.database.write() as connection:
        wanted = order(worker=worker, reason=reason)
        done = change_worker(connection, wanted, sign(key), now=services.clock.now())
    if done.is_replay:
        typer.echo("done before under this key; nothing happened now", err=True)
    state = done.result
    text = f"{state.worker} gets {'no more jobs' if state.is_draining else 'jobs again'}"
    typer.echo(state.model_dump_json() if as_json else text)


def _log_requeue(
    connection: Connection, moved: Moved, reason: str, lost: dict[str, Any], *, now: datetime
) -> None:
    """Add the line to the operators' log; the account is locked already."""
    lock_log(connection)
    signature = sign(None)
    details = {"job_id": moved.job_id, **lost}
    entry = Entry(
        signature.key,
        signature.actor,
        Action.JOB_REQUEUE,
        moved.account_id,
        reason,
        details,
    )
    append(connection, entry, now=now)


def _get_case(connection: Connection, job_id: str, *, show_prompt: bool = False) -> JobCase:
    case = find_case(connection, job_id, show_prompt=show_prompt)
    return case or _refuse(f"no job {job_id}")


def _state(line: WorkerLine) -> str:
    """The state with its reason; an order to drain shows beside every other state."""
    reason = f": {line.unfit_reason}" if line.state is WorkerState.UNFIT else ""
    is_hidden = line.is_draining and line.state is not WorkerState.DRAINING
    return f"{line.state}{reason}" + (", draining" if is_hidden else "")


def _refuse(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _plain(value: object) -> Any:  # noqa: ANN401 -- JSON
    return _ANYTHING.dump_python(value, mode="json")


def _print_json(answer: dict[str, Any]) -> None:
    typer.echo(json.dumps(answer))


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(_cell, row))
    # As wide as it is: ids are whole for the next command, in a pipe too.
    Console(width=_WIDE, markup=False, highlight=False).print(table)


def _cell(value: object) -> str:
    """Text for a terminal: what clients and workers wrote must not steer it."""
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def _ago(instant: datetime | None, now: datetime) -> str:
    return f"{_span((now - instant).total_seconds())} ago" if instant else ""


def _span(seconds: float | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))
