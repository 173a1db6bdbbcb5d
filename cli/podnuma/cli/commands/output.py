"""How commands print: text for people, JSON or YAML for programs, remarks on standard error.

Text is coloured on a terminal and plain when piped; NO_COLOR is respected. When the reader closes
the pipe early (`| head`), the process ends quietly.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from podnuma.api.decoding import printable
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit, Failure
from rich.console import Console, RenderableType

ANSWERS_VERSION: Final = "cli.podnuma.dev/v1alpha1"

# Wide enough for a map of 96 cores a line; pagers and editors cut or wrap as they like.
_PIPED_WIDTH = 132


def show(*parts: RenderableType) -> None:
    """Print for people."""
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else _PIPED_WIDTH, highlight=False, soft_wrap=False, emoji=False)
    if terminal:
        console.print(*parts, sep="\n")
        return
    with console.capture() as capture:
        console.print(*parts, sep="\n")
    # Rich fills lines up to the width of a table; a file should not have that.
    write("".join(printable(line).rstrip() + "\n" for line in capture.get().splitlines()))


class AnswerKind(StrEnum):
    """The kind of what an answer lists; docs/reference/cli-answers.schema.json says what each has."""

    NODE_MAP = "NodeMap"
    NODE_SUMMARY = "NodeSummary"
    POD_EXPLANATION = "PodExplanation"
    POD_REFUSAL = "PodRefusal"
    WORKLOAD_EXPLANATION = "WorkloadExplanation"
    POD_PLAN = "PodPlan"
    POD_RESIZE = "PodResize"
    CONTAINER_USE = "ContainerUse"
    SIDECAR_SAVING = "SidecarSaving"
    CHECK_RESULT = "CheckResult"
    POD_DEVICES = "PodDevices"
    WAITING_POD = "WaitingPod"


def dump_answer(
    kind: AnswerKind,
    items: Iterable[Mapping[str, Any]],
    form: OutputFormat,
    summary: Mapping[str, Any] | None = None,
) -> None:
    """Print an answer for programs: items of one kind, in a stable order, in the one envelope."""
    answer: dict[str, Any] = {"apiVersion": ANSWERS_VERSION, "kind": f"{kind.value}List"}
    if summary is not None:
        answer["summary"] = dict(summary)
    dump({**answer, "items": [dict(item) for item in items]}, form)


def dump(value: Any, form: OutputFormat) -> None:
    """Print for programs."""
    if form is OutputFormat.YAML:
        from podnuma.plumbing.kube import kubectl_yaml  # noqa: PLC0415 - slow to load, few ask for it

        write(kubectl_yaml.dump_yaml(value))
    else:
        write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write(text: str) -> None:
    """Write to standard output; a closed pipe ends the process without an error. Failure if that is full."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # The interpreter flushes once more at exit and would report an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0) from None
        raise Failure(Exit.INPUT, f"the answer cannot be written: {error.strerror}") from error


def note(line: str) -> None:
    """Print something that is not part of the answer, on standard error."""
    sys.stderr.write(printable(line, kept="\n") + "\n")
