"""Options that a format or a runtime declares. The command line shows and takes those of the one named by ``--format`` or ``--runtime``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from mnist_edge.cli.common import option, was_typed
from mnist_edge.common.errors import UsageError
from mnist_edge.common.options import Option

#: Takes the typed name, or None. Returns the options that fit it, and those of all others, which are parsed only to refuse them with a reason.
Find = Callable[[str | None], tuple[Sequence[Option], Sequence[Option]]]


def declares(flag: str, find: Find) -> type[click.Command]:
    """Return the class of a command whose options depend on what `flag` names, such as ``--format``."""

    class Declaring(click.Command):
        def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
            ctx.meta[flag] = _named(flag, args)
            return super().parse_args(ctx, args)

        def get_params(self, ctx: click.Context) -> list[click.Parameter]:
            fitting, others = find(ctx.meta.get(flag))
            names = {one.name for one in fitting}
            params = super().get_params(ctx)
            help_option = params[-1:]
            taken = {word for one in params for word in (one.name, *one.opts)}
            for one in fitting:
                if taken & {one.name, one.flag}:
                    raise UsageError(
                        f"{flag} {ctx.meta.get(flag)}: its option {one.flag} has the same name as one of this command's own; its author must rename it"
                    )
            declared = [_parameter(one) for one in fitting]
            hidden = [one for one in _each_once(others) if one.name not in names and not taken & {one.name, one.flag}]
            declared += [_parameter(one, hidden=True) for one in hidden]
            return [*params[: len(params) - 1], *declared, *help_option]

    return Declaring


def runtime_options(name: str | None) -> tuple[Sequence[Option], Sequence[Option]]:
    """Return the options of the runtime with this name, or none if it does not exist: the command will say so."""
    from mnist_edge import runtimes

    with suppress(UsageError):
        return (runtimes.get(name).options if name else ()), ()
    return (), ()


def given(ctx: click.Context, options: Iterable[Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `options` that were given, on the command line or in the environment, in the form that their owner takes."""
    found = {one.name: value for one in options if (value := values.get(one.name)) not in (None, ()) and value is not False}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def refuse_others(ctx: click.Context, options: Iterable[Option], values: Mapping[str, Any], what: str) -> None:
    """Raise UsageError for a typed option that is not in `options`. One from the environment is meant for other commands."""
    fitting = {one.name for one in options}
    for name in values:
        if name not in fitting and was_typed(ctx, name):
            raise UsageError(f"--{name.replace('_', '-')} has no effect with {what}; leave it out")


def _each_once(options: Iterable[Option]) -> list[Option]:
    return list({one.name: one for one in options}.values())


def _named(flag: str, args: Sequence[str]) -> str | None:
    """Return the value of `flag` on the command line, else the one in the environment."""
    name = os.environ.get("MNIST_EDGE_" + flag[2:].upper().replace("-", "_")) or None
    for word, following in zip(args, [*args[1:], ""], strict=False):
        if word == flag and following:
            name = following
        elif word.startswith(f"{flag}="):
            name = word.partition("=")[2]
    return name


def _parameter(declared: Option, hidden: bool = False) -> click.Parameter:
    attributes: dict[str, Any] = {
        "help": declared.help + (f"  [default: {declared.default}]" if declared.default else ""),
        "hidden": hidden,
    }
    if declared.type is bool:
        attributes |= {"is_flag": True, "show_default": False}
    else:
        attributes |= {"type": declared.type, "multiple": declared.multiple}
        attributes |= {"metavar": declared.metavar or "|".join(declared.choices) or None, "show_default": False}

    def nothing() -> None: ...

    made: click.Parameter = option(declared.flag, declared.name, **attributes)(nothing).__click_params__[0]
    return made
