"""The commands for one machine: `demo` and `up`, and `health` for containers.

Data goes to stdout, everything else to stderr, so that `demo --json` prints one object alone.
"""

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gateway.local.demo import DemoVideo, run_demo
from gateway.local.probe import LOOPBACK, get_status
from gateway.local.processes import LocalError
from gateway.local.up import run_up

DEFAULT_PORT = 8000


def demo(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the videos.")] = Path("reelgate-demo"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Render a text-to-video and an image-to-video clip through a gateway of its own."""
    _end_on_sigterm()
    try:
        videos = run_demo(out, _say)
    except (LocalError, OSError) as error:
        _fail(f"demo: {error}")
    except KeyboardInterrupt:
        _say("demo: interrupted; everything is stopped")
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps({"videos": [dataclasses.asdict(video) for video in videos]}))
    else:
        typer.echo("\n\n".join(_summary(video) for video in videos))


def up(
    *,
    data: Annotated[Path, typer.Option(help="Folder for everything kept.")] = Path("reelgate-data"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = DEFAULT_PORT,
) -> None:
    """Run gateway, worker and queue on this machine until Ctrl-C."""
    _end_on_sigterm()
    try:
        run_up(data, port, say=_say, show=typer.echo)
    except (LocalError, OSError) as error:
        _fail(f"up: {error}")
    except KeyboardInterrupt:
        _say("everything is stopped")


def health(
    *,
    host: Annotated[str, typer.Option(help="Where the gateway listens.")] = LOOPBACK,
    port: Annotated[int | None, typer.Option(help="REELGATE_PORT, else 8000.")] = None,
) -> None:
    """Exit with 0 if the gateway on this machine is ready, else with 1."""
    wanted = port or int(os.environ.get("REELGATE_PORT") or DEFAULT_PORT)
    try:
        status, body = get_status(host, wanted, "/readyz")
    except OSError as error:
        _fail(f"health: nobody answers at {host}:{wanted}: {error}")
    typer.echo(body)
    if status != 200:  # noqa: PLR2004 -- HTTP's own number for "ready"
        _fail(f"health: not ready ({status})")


def _summary(video: DemoVideo) -> str:
    return (
        f"{video.path}\n"
        f"  prompt   {video.prompt}\n"
        f"  size     {video.width}x{video.height}, {video.frames} frames at {video.fps:g} fps\n"
        f"  seconds  {video.seconds:g}\n"
        f"  points   {video.points}"
    )


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _fail(message: str) -> NoReturn:
    _say(message)
    raise typer.Exit(1)


def _end_on_sigterm() -> None:
    """Let SIGTERM and a closed terminal end us like Ctrl-C: with everything stopped behind us."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
