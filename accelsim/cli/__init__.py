"""The command line: a thin door. Each command loads, calls and shows; only here is anything printed."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module
from typing import Any

import click

from accelsim.base.errors import AccelsimError, LimitError

COMMANDS = (
    *("demo", "list", "show", "check", "run", "compare", "explain", "roofline", "energy", "validate", "convert"),
    *("measure", "calibrate", "report", "lab"),
)


class Commands(click.Group):
    """Commands that are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the tour."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"accelsim.cli.{cmd_name}_command").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command where one is misspelt."""
        from accelsim.base.errors import nearest

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(
                f"no command {args[0]!r}{nearest(args[0], COMMANDS)}; want one of {', '.join(COMMANDS)}", ctx
            )
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            click.echo(f"accelsim {installed('accelsim')}")
        except PackageNotFoundError:
            click.echo("accelsim, from a checkout that is not installed")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """Answer what-if questions about deep-learning accelerators.

    Start with `accelsim demo`, then `accelsim run tpu_v1 onnx:light_resnet50 --batch 8`.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 an asserted limit does not hold, 2 wrong input."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - to the end of the process
    sys.exit(status(args))


def status(args: list[str] | None = None) -> int:
    """Run the command line; its exit status. Every error is a message, none a stack trace."""
    try:
        outcome: Any = cli.main(args=args, prog_name="accelsim", standalone_mode=False)
        sys.stdout.flush()
    except LimitError as violation:
        return _complain(str(violation), 1)
    except AccelsimError as error:
        return _complain(str(error), 2)
    except click.ClickException as error:
        hint = f"\nTry '{error.ctx.command_path} --help'." if isinstance(error, click.UsageError) and error.ctx else ""
        return _complain(error.format_message() + hint, 2)
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", 130)
    except (BrokenPipeError, SystemExit):  # click's own answer to a broken pipe is to exit with 1
        _let_go_of_stdout()
        return 0
    except OSError as error:
        if error.filename is None:
            _let_go_of_stdout()
        return _complain(f"{error.filename or 'standard output'}: {error.strerror or error}", 2)
    return outcome if isinstance(outcome, int) else 0


def _let_go_of_stdout() -> None:
    """What could not be written is lost: Python must not try again when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _complain(message: str, code: int) -> int:
    click.echo(f"accelsim: {message}", err=True)
    return code
