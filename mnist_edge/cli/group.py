"""Finds commands by name, and turns errors into one line and an exit code."""

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import click

from mnist_edge.cli import interrupt
from mnist_edge.cli.interrupt import EXIT_INTERRUPTED
from mnist_edge.common import errors

EXIT_FAILED, EXIT_USAGE, EXIT_PARITY = 1, 2, 3


class Cli(click.Group):
    """A group that knows the names of its commands and imports a command's module when it is called."""

    def __init__(self, *, commands_help: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(**attributes, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
        self._help = commands_help
        self.params.append(
            click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of a user's work."""
        return list(self._help)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self._help:
            return None
        command: click.Command = import_module(f"mnist_edge.cli.{cmd_name}").command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the corrected line in the error if options stand before the command."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption:
            at = next((i for i, word in enumerate(given) if word in self._help), None)
            if at is None:
                raise
            import shlex

            line = shlex.join(["mnist-edge", given[at], *given[:at], *given[at + 1 :]])
            raise errors.UsageError(f"options come after the command: {line}") from None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for an unknown name."""
        if args and not args[0].startswith("-") and args[0] not in self._help:
            raise errors.unknown_name("command", args[0], self._help)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._help.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Code of a network or a plug-in may call sys.exit; this program must not end silently then."""
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise errors.MnistEdgeError(_who_ended(error)) from error

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run, say in one line what went wrong, and exit with the code for that kind of error."""
        extra["standalone_mode"] = False
        given = list(extra.get("args") or (args[0] if args and args[0] else sys.argv[1:]))
        interrupt.begin()
        try:
            code = super().main(*args, **extra)
            if sys.stdout is not None:
                sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(EXIT_USAGE)
        except click.UsageError as error:
            command = given[:1] if given and given[0] in self._help else []
            where = error.ctx.command_path if error.ctx else " ".join(["mnist-edge", *command])
            _fail(f"{_plain(error.format_message())} See: {where} --help", EXIT_USAGE, given)
        except click.ClickException as error:
            _fail(error.format_message(), EXIT_FAILED, given)
        except (click.Abort, KeyboardInterrupt):
            _fail("interrupted", EXIT_INTERRUPTED, given)
        except errors.UsageError as error:
            _fail(str(error), EXIT_USAGE, given)
        except errors.ParityError as error:
            _fail(str(error), EXIT_PARITY, given)
        except errors.MnistEdgeError as error:
            _fail(str(error), EXIT_FAILED, given)
        except OSError as error:
            _fail(_os_error(error), EXIT_FAILED, given)
        except Exception as error:  # a bug in this program
            if os.environ.get("MNIST_EDGE_DEBUG"):
                raise
            _fail(
                f"internal error, please report it: {type(error).__name__}: {error} (MNIST_EDGE_DEBUG=1 shows the traceback)",
                EXIT_FAILED,
                given,
            )
        if interrupt.was_interrupted():  # something swallowed the KeyboardInterrupt
            sys.exit(EXIT_INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


def epilog(*examples: str) -> str | None:
    """Return examples for the end of a command's help, one per line."""
    if not examples:
        return None
    return "\n".join(["\b", "Example:" if len(examples) == 1 else "Examples:", *(f"  mnist-edge {example}" for example in examples)])


def _who_ended(error: BaseException) -> str:
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1]
    what = f"called sys.exit({error.code!r})" if isinstance(error, SystemExit) else f"raised {errors.one_line(error)}"
    return f"{last.filename}:{last.lineno} {what}, which left the command unfinished"


def _fail(message: str, code: int, arguments: list[str]) -> NoReturn:
    """Print the error on standard error. With --json, standard output still gets its one document."""
    if interrupt.was_interrupted():  # some libraries turn Ctrl-C into an error of their own
        message, code = "interrupted", EXIT_INTERRUPTED
    message = _flat(message)
    with suppress(OSError):
        click.echo(f"error: {errors.printable(message)}", err=True)
    if interrupt.wants_document(arguments):
        import json

        with suppress(OSError):
            click.echo(json.dumps({"error": message, "exit_code": code}))
            interrupt.document_written()
    _drop_unwritable_output()
    sys.exit(code)


def _drop_unwritable_output() -> None:
    """Drop output that cannot be written, such as to a full disk, so that the interpreter does not fail on it when it exits."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _flat(text: str) -> str:
    return " ".join(text.split())


def _plain(message: str) -> str:
    """Return click's message with a full stop, in words that are not a programmer's."""
    message = re.sub(r"is not a valid integer( range)?\b", "is not a whole number", _flat(message))
    message = re.sub(r"is not a valid float( range)?\b", "is not a number", message)
    message = message.replace("Recognized values: , ", "Recognized values: ")
    return message if message.endswith((".", "?")) else f"{message}."


def _os_error(error: OSError) -> str:
    path = error.filename2 or error.filename  # the target of a copy
    where = f"{os.fsdecode(path)}: " if isinstance(path, (str, bytes, os.PathLike)) else "writing: "
    return f"{where}{error.strerror or error}"


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from mnist_edge.common.version import __version__

        click.echo(f"mnist-edge {__version__}")
        ctx.exit()
