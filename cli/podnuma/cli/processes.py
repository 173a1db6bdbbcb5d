"""The verbs that run until told to stop: operator and node agent.

Each turns options into the frozen settings of its part and calls that part's `main`.
Every option has an environment twin (PODNUMA_METRICS_PORT for --metrics-port), because
a manifest sets them more readably. Nothing of a part is imported before its verb is
called: the agent must not pay for Kopf, nor the operator for gRPC.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LogLevel(StrEnum):
    """How much a process says."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """For people (text) or for collectors (json, one object a line)."""

    TEXT = "text"
    JSON = "json"


class Runtime(StrEnum):
    """Where the agent learns of containers, and through what it changes them."""

    AUTO = "auto"
    NRI = "nri"
    CRI = "cri"
    SIMULATED = "simulated"


Kubeconfig = Annotated[
    Path | None,
    typer.Option(envvar="KUBECONFIG", help="how to reach the API server; the service account if left out"),
]


def register(app: typer.Typer) -> None:
    """Add `operator` and `agent` to the command line."""
    app.command("operator")(operator)
    agent = typer.Typer(help="The node agent: what was decided becomes cgroup values.", no_args_is_help=True)
    agent.command("run")(agent_run)
    agent.command("cleanup")(agent_cleanup)
    app.add_typer(agent, name="agent")


def operator() -> None:
    """Decide: watch pods and profiles, write PodAllocations."""


def agent_run() -> None:
    """Apply: make cgroups of this node follow its PodAllocations."""


def agent_cleanup() -> None:
    """Give every cgroup of this node back to the kubelet and the runtime."""
