"""The verbs of `podnuma`, and how the process ends.

    processes   operator, agent run, agent cleanup      run until told to stop
    questions   map, explain, plan, top, savings, discover, replay      answer and end
    about       version, completion

Verbs are declared in `processes` and `questions`; this module puts them together and is
the only place that ends the process, always with a code of `exits.Exit`.
"""

import contextlib
import os
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from podnuma.cli import exits, processes, questions

_SHELLS = ("bash", "zsh", "fish")
_COMPLETE = "_PODNUMA_COMPLETE"

app = typer.Typer(
    name="podnuma",
    help="NUMA-aligned pod budgets with exclusive slices and shared sidecars, without touching the kubelet.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
processes.register(app)
questions.register(app)


@app.command()
def version() -> None:
    """Print the version of this build."""
    sys.stdout.write(f"podnuma {metadata.version('podnuma')}\n")


@app.command()
def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish", metavar="SHELL")],
) -> None:
    """Print the completion script of a shell: source <(podnuma completion bash)."""
    if shell not in _SHELLS:
        raise exits.Failure(
            exits.Exit.USAGE, f"no completion for {shell!r}: choose one of {', '.join(_SHELLS)}"
        )
    # Typer answers this request itself; asking through the environment is its public way.
    os.environ[_COMPLETE] = f"source_{shell}"
    typer.main.get_command(app).main(args=[], prog_name="podnuma", complete_var=_COMPLETE)


def complete() -> None:
    """Entry point of `kubectl_complete-podnuma`, by which kubectl asks a plugin for completions.

    One candidate a line, then a line that says what the shell shall do with them (":0": the usual).
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
    # kubectl runs a plugin as `kubectl-podnuma`; help should show what the person typed.
    shown = "kubectl podnuma" if name.startswith("kubectl") else "podnuma"
    try:
        code = typer.main.get_command(app).main(args=arguments, prog_name=shown, complete_var=_COMPLETE)
    except exits.Failure as failure:
        for line in failure.lines:
            sys.stderr.write(line + "\n")
        sys.exit(failure.code)
    except KeyboardInterrupt:
        sys.exit(exits.Exit.INTERRUPTED)
    except Exception:  # noqa: BLE001 - the last resort: any other exception is a bug and has its code
        import traceback  # noqa: PLC0415 - only for a bug

        traceback.print_exc()
        sys.stderr.write("this is a bug in podnuma: please report the lines above\n")
        sys.exit(exits.Exit.FAULT)
    sys.exit(code)
