"""The command `reelgate tiny`: train the small checkpoint, or score it."""

from __future__ import annotations

import typer

# The two commands are modules of their own, which also run with `python -m`.
PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}

app = typer.Typer(help="The shipped small model: train it or score it.", no_args_is_help=True)


@app.command(context_settings=PASS_ON)
def train(context: typer.Context) -> None:
    """Make a checkpoint, stage by stage and resumable; `train --help` has the minutes of each."""
    from models.tiny.train import main

    main(context.args)


@app.command(context_settings=PASS_ON)
def evaluate(context: typer.Context) -> None:
    """Score the checkpoint on held-out prompts; see `evaluate --help`."""
    from models.tiny.evaluate import main

    main(context.args)
