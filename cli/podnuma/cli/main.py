"""The entry points of `podnuma`: its commands, and how the process ends.

A command is a module of `commands` with a Typer app of its own, imported when the command is called:
the agent does not pay for Kopf, nor `podnuma version` for YAML. This module is the only one that ends
the process, always with a code of `exits.Exit`.
"""

import contextlib
import difflib
import importlib
import io
import os
import shlex
import signal
import sys
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from podnuma.cli import exits
from typer.core import TyperGroup

_SHELLS = ("bash", "zsh", "fish")
_COMPLETE = "_PODNUMA_COMPLETE"


class _Section(StrEnum):
    """The heading of the help text that a command stands under."""

    QUESTIONS = "Questions"
    CHANGES = "Changes to a cluster"
    PROCESSES = "Processes"


@dataclass(frozen=True, slots=True)
class _Command:
    """A command that is imported at its first use: its module, and the first line of its help."""

    module: str
    summary: str
    section: _Section = _Section.QUESTIONS


# In the order of the help text, which needs no command's module: the summaries stand here, and a test
# compares them with what the commands themselves say.
_COMMANDS = {
    "map": _Command(
        "map", "Draw the sockets, NUMA nodes, caches and cores of nodes, and which pod holds which CPUs."
    ),
    "nodes": _Command("nodes", "List nodes, one line each, with a bar per NUMA node for what is free there."),
    "explain": _Command(
        "explain", "Explain why a pod is where it is, or why it was refused and what would make it fit."
    ),
    "plan": _Command("plan", "Tell what would happen to these pods, without changing anything."),
    "ui": _Command("ui", "Show nodes, pods and decisions live in a local web page, which only reads."),
    "top": _Command("top", "Show usage, throttling and drift of each container of managed pods."),
    "savings": _Command(
        "savings",
        "Report the CPUs that pod budgets with shared sidecars would free; nothing need be installed.",
    ),
    "check": _Command(
        "check", "Check whether podnuma can be installed in this cluster, or whether it works there."
    ),
    "locality": _Command(
        "locality",
        "Report pods whose devices and CPUs can be on different NUMA nodes; nothing need be installed.",
    ),
    "profile": _Command("profile", "Write a first NodeProfile, to be read before it is applied."),
    "discover": _Command(
        "discover",
        "Print the hardware of this machine as a NodeTopology (with -o text: as a map, and PCI devices).",
    ),
    "replay": _Command(
        "replay", "Decide scenarios without a cluster: JSON lines in on standard input, JSON lines out."
    ),
    "operator": _Command(
        "operator",
        "Run the operator: watch pods and profiles, write PodAllocations.",
        _Section.PROCESSES,
    ),
    "agent": _Command(
        "agent",
        "The node agent: applies PodAllocations to the cgroups of its node.",
        _Section.PROCESSES,
    ),
    "release-gates": _Command(
        "release_gates",
        "Release all pods that wait to be placed: remove podnuma's scheduling gate from them.",
        _Section.CHANGES,
    ),
    "release-nodes": _Command(
        "release_nodes",
        "Stop the operator and have all agents give their nodes back, before an uninstall.",
        _Section.CHANGES,
    ),
}


# What people type who expect kubectl's verbs here.
_OF_KUBECTL = {
    "get": "kubectl get podallocations",
    "describe": "kubectl describe podallocation POD",
    "logs": f"kubectl logs -n {exits.INSTALL_NAMESPACE} deployment/podnuma-operator",
    "delete": "kubectl delete nodeprofile NAME",
    "edit": "kubectl edit nodeprofile NAME",
    "apply": "kubectl apply -f FILE",
}
_NEAR = 0.8  # of difflib: a letter or two of a name


class _CommandTable(MutableMapping[str, Any]):
    """The commands by name. All names are known from the start, a module is imported at its first use."""

    def __init__(self, loaded: MutableMapping[str, Any]) -> None:
        self._loaded = loaded

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded and name in _COMMANDS:
            module = importlib.import_module(f"podnuma.cli.commands.{_COMMANDS[name].module}")
            self._loaded[name] = typer.main.get_command(module.app)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*_COMMANDS, *self._loaded)))

    def __len__(self) -> int:
        return len(list(iter(self)))


class _LazyGroup(TyperGroup):
    """A group whose commands come from a _CommandTable; completion of a name loads what it begins."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _CommandTable(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; of one that does not exist say which may be meant, kubectl's or a near one."""
        name = args[0]
        if name in _OF_KUBECTL:
            ctx.fail(f"No such command {name!r}: that is kubectl's own, as in `{_OF_KUBECTL[name]}`.")
        if not name.startswith("-") and name not in self.commands:
            near = difflib.get_close_matches(name, list(self.commands), n=1, cutoff=_NEAR)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each section, then the rest, with their whole summaries; no module is imported."""
        own = {name: self.commands[name].help or "" for name in self.commands if name not in _COMMANDS}
        sections: dict[str, dict[str, str]] = {section.value: {} for section in _Section}
        for name, one in _COMMANDS.items():
            sections[one.section.value][name] = one.summary
        for head, rows in {**sections, "About podnuma": own}.items():
            with formatter.section(head):
                formatter.write_dl(list(rows.items()))
        del ctx


app = typer.Typer(
    cls=_LazyGroup,
    name="podnuma",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version() -> str:
    from importlib import metadata  # noqa: PLC0415 - slow to load: not for --help

    return f"podnuma {metadata.version('podnuma')}\n"


def _print_version_and_end(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(_version())
        raise typer.Exit


@app.callback()
def podnuma(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version_and_end, is_eager=True
        ),
    ] = False,
) -> None:
    """NUMA-aligned pod budgets with exclusive slices and shared sidecars, without touching the kubelet."""


@app.command("version")
def print_version() -> None:
    """Print the version of this build."""
    sys.stdout.write(_version())


@app.command("completion")
def print_completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish", metavar="SHELL")],
) -> None:
    """Print the completion script of a shell: source <(podnuma completion bash)."""
    if shell not in _SHELLS:
        raise exits.Failure(
            exits.Exit.USAGE, f"no completion for {shell!r}: choose one of {', '.join(_SHELLS)}"
        )
    # Typer prints the script itself; the environment is its public way to be asked for it.
    os.environ[_COMPLETE] = f"source_{shell}"
    typer.main.get_command(app).main(args=[], prog_name="podnuma", complete_var=_COMPLETE)


def complete() -> None:
    """Entry point of `kubectl_complete-podnuma`, by which kubectl asks a plugin for completions.

    One candidate per line, then a line with a directive for the shell (":0" is the default one).
    """
    words = sys.argv[1:]
    os.environ[_COMPLETE] = "complete_bash"
    os.environ["COMP_WORDS"] = shlex.join(["podnuma", *words])
    os.environ["COMP_CWORD"] = str(len(words))
    with contextlib.suppress(SystemExit):
        typer.main.get_command(app).main(args=[], prog_name="podnuma", complete_var=_COMPLETE)
    sys.stdout.write(":0\n")


def _set_encodings() -> None:
    """Read and write UTF-8 whatever the locale says, as kubectl does; a terminal shows what it can."""
    if sys.stdout is None:  # closed
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="replace")


def _heed_sigterm() -> None:
    """Let SIGTERM end a process that is the first of its container, which the kernel spares by default.

    The operator and the agent have a way of their own to end, but not before they have been imported: a pod
    that is deleted then would go on until it is killed.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def run(arguments: list[str] | None = None) -> None:
    """Entry point of the console scripts. Always ends with SystemExit."""
    _heed_sigterm()
    _set_encodings()
    name = Path(sys.argv[0]).name if arguments is None else "podnuma"
    # kubectl runs a plugin as `kubectl-podnuma`; the help text should show what was typed.
    shown = "kubectl podnuma" if name.startswith("kubectl") else "podnuma"
    try:
        code = typer.main.get_command(app).main(args=arguments, prog_name=shown, complete_var=_COMPLETE)
    except exits.Failure as failure:
        from podnuma.api.decoding import printable  # noqa: PLC0415 - only needed for a failure

        for line in failure.lines:
            sys.stderr.write(printable(line, kept="\n") + "\n")
        sys.exit(failure.code)
    except KeyboardInterrupt:
        sys.exit(exits.Exit.INTERRUPTED)
    except Exception:  # noqa: BLE001 - any other exception is a bug and has its own exit code
        import traceback  # noqa: PLC0415 - only needed for a bug

        traceback.print_exc()
        sys.stderr.write("this is a bug in podnuma: please report the lines above\n")
        sys.exit(exits.Exit.FAULT)
    sys.exit(code)
