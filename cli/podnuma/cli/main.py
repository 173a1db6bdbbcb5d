"""The entry points of `podnuma`: its commands, and how the process ends.

A command is a module of `commands` with a Typer app of its own, imported when the command is called:
the agent does not pay for Kopf, nor `podnuma version` for YAML. This module is the only one that ends
the process, always with a code of `exits.Exit`.
"""

import contextlib
import importlib
import os
import shlex
import sys
from collections.abc import Iterator, MutableMapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from podnuma.cli import exits
from typer.core import TyperGroup

_SHELLS = ("bash", "zsh", "fish")
_COMPLETE = "_PODNUMA_COMPLETE"

# Command -> its module in podnuma.cli.commands, in the order of the help text.
_MODULES = {
    "map": "map",
    "explain": "explain",
    "plan": "plan",
    "top": "top",
    "savings": "savings",
    "discover": "discover",
    "replay": "replay",
    "operator": "operator",
    "agent": "agent",
    "release-nodes": "release_nodes",
}


class _CommandTable(MutableMapping[str, Any]):
    """The commands by name. All names are known from the start, a module is imported at its first use."""

    def __init__(self, loaded: MutableMapping[str, Any]) -> None:
        self._loaded = loaded

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded and name in _MODULES:
            module = importlib.import_module(f"podnuma.cli.commands.{_MODULES[name]}")
            self._loaded[name] = typer.main.get_command(module.app)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*_MODULES, *self._loaded)))

    def __len__(self) -> int:
        return len(list(iter(self)))


class _LazyGroup(TyperGroup):
    """A group whose commands come from a _CommandTable; completion of a name loads what it begins."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _CommandTable(self.commands)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        return list(self.commands)


app = typer.Typer(
    cls=_LazyGroup,
    name="podnuma",
    help="NUMA-aligned pod budgets with exclusive slices and shared sidecars, without touching the kubelet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("version")
def print_version() -> None:
    """Print the version of this build."""
    sys.stdout.write(f"podnuma {metadata.version('podnuma')}\n")


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


def run(arguments: list[str] | None = None) -> None:
    """Entry point of the console scripts. Always ends with SystemExit."""
    name = Path(sys.argv[0]).name if arguments is None else "podnuma"
    # kubectl runs a plugin as `kubectl-podnuma`; the help text should show what was typed.
    shown = "kubectl podnuma" if name.startswith("kubectl") else "podnuma"
    try:
        code = typer.main.get_command(app).main(args=arguments, prog_name=shown, complete_var=_COMPLETE)
    except exits.Failure as failure:
        for line in failure.lines:
            sys.stderr.write(line + "\n")
        sys.exit(failure.code)
    except KeyboardInterrupt:
        sys.exit(exits.Exit.INTERRUPTED)
    except Exception:  # noqa: BLE001 - any other exception is a bug and has its own exit code
        import traceback  # noqa: PLC0415 - only needed for a bug

        traceback.print_exc()
        sys.stderr.write("this is a bug in podnuma: please report the lines above\n")
        sys.exit(exits.Exit.FAULT)
    sys.exit(code)
