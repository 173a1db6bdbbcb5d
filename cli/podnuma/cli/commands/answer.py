"""What a command answers, and how it is given: to people or to programs, once or whenever it changes.

A command that asks is a function from a source of objects to an `Answer`. `answering` makes the options of
every such command around it, in one place:

    -o                                what the answer looks like; --no-headers where it is a table
    --from, --kubeconfig, --context   where objects are read
    --watch                           ask again every few seconds, print what is another answer, until Ctrl-C

While it watches, a cluster that does not answer is asked again at growing pauses, and said once.
"""

import contextlib
import functools
import inspect
import io
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from podnuma.api.decoding import printable
from podnuma.cli.commands import output
from podnuma.cli.commands.options import Context, Files, Kubeconfig, NoHeaders, Output, OutputFormat
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.sources import FileSource, open_source
from podnuma.plumbing.backoff import Backoff
from rich.console import RenderableType

PAUSE: Final = 5.0
"""Seconds between two questions of --watch."""

_IN_VAIN: Final = Backoff(PAUSE, 60.0)
_CLEAR: Final = "\x1b[H\x1b[2J"

Watch = Annotated[bool, typer.Option("--watch", "-w", help="print the answer again whenever it changes")]


@dataclass(frozen=True, slots=True)
class TextStyle:
    """How an answer is written for people: `wide` says more, a table may have no line of headings."""

    wide: bool = False
    headers: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """Items of one kind in a stable order, the same as text, and the exit code that goes with it."""

    kind: output.AnswerKind
    items: Sequence[Mapping[str, Any]]
    text: Callable[[TextStyle], str | RenderableType]
    summary: Mapping[str, Any] | None = None
    code: Exit = Exit.OK


def print_answer(answer: Answer, form: OutputFormat, *, headers: bool = True) -> Exit:
    """Print an answer; return its exit code."""
    if form.structured:
        output.dump_answer(answer.kind, answer.items, form, answer.summary)
        return answer.code
    written = answer.text(TextStyle(wide=form is OutputFormat.WIDE, headers=headers))
    if isinstance(written, str):
        output.write(printable(written, kept="\n"))
    else:
        output.show(written)
    return answer.code


def answering(
    *, table: bool = False, watch: bool = False
) -> Callable[[Callable[..., Answer]], Callable[..., None]]:
    """Make a command of a function that takes a source first and returns an Answer.

    `table`: its text has a line of headings. `watch`: it is worth being asked again and again.
    """

    def decorate(ask: Callable[..., Answer]) -> Callable[..., None]:
        def run(
            *,
            form: OutputFormat,
            no_headers: bool = False,
            watching: bool = False,
            files: list[str] | None,
            kubeconfig: Path | None,
            context: str | None,
            **own: Any,
        ) -> None:
            source = open_source(files, kubeconfig, context)

            def show(answer: Answer) -> Exit:
                return print_answer(answer, form, headers=not no_headers)

            if watching:
                if isinstance(source, FileSource):
                    raise Failure(Exit.USAGE, "--watch follows a cluster; saved objects stay as they are")
                follow(lambda: ask(source, **own), show, form)
            raise typer.Exit(show(ask(source, **own)))

        added: dict[str, tuple[Any, Any]] = {"watching": (Watch, False)} if watch else {}
        added |= {"no_headers": (NoHeaders, False)} if table else {}
        return _with_options(ask, run, {**added, "form": (Output, OutputFormat.TEXT), **_SOURCE})

    return decorate


def with_source(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a source as its first argument, and the options that name it."""

    def run(*, files: list[str] | None, kubeconfig: Path | None, context: str | None, **own: Any) -> None:
        command(open_source(files, kubeconfig, context), **own)

    return _with_options(command, run, _SOURCE)


_SOURCE: Final[Mapping[str, tuple[Any, Any]]] = {
    "files": (Files, None),
    "kubeconfig": (Kubeconfig, None),
    "context": (Context, None),
}


def _with_options(
    command: Callable[..., Any], run: Callable[..., None], added: Mapping[str, tuple[Any, Any]]
) -> Callable[..., None]:
    """Let `run` look to Typer like `command` without its source and with more options."""
    signature = inspect.signature(command)
    own = list(signature.parameters.values())[1:]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in added.items()
    ]
    functools.update_wrapper(run, command)
    run.__signature__ = signature.replace(parameters=[*own, *more], return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in (*own, *more)}
    return run


def follow(
    ask: Callable[[], Answer],
    show: Callable[[Answer], Exit],
    form: OutputFormat,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Ask until interrupted; show each answer that differs from the one before."""
    shown: tuple[Sequence[Mapping[str, Any]], Mapping[str, Any] | None] | None = None
    said, failures, rng = "", 0, random.Random()
    while True:
        try:
            with contextlib.redirect_stderr(io.StringIO()) as remarks:
                answer = ask()
        except Failure as failure:
            if failure.code is not Exit.UNREACHABLE or shown is None:
                raise
            if not failures:
                output.note(failure.lines[0])
            failures += 1
            pause(_IN_VAIN.delay(failures, rng))
            continue
        failures = 0
        if remarks.getvalue() != said:
            said = remarks.getvalue()
            sys.stderr.write(said)
        found = (list(answer.items), answer.summary)
        if found != shown:
            _separate(form, first=shown is None)
            shown = found
            show(answer)
        pause(PAUSE * rng.uniform(0.9, 1.1))


def _separate(form: OutputFormat, *, first: bool) -> None:
    """Begin an answer anew: on a cleared screen, or after a line that readers take for one."""
    if form is OutputFormat.YAML:
        output.write("---\n")
    elif form is not OutputFormat.JSON:
        output.write(_CLEAR if sys.stdout.isatty() else "" if first else "\n")
