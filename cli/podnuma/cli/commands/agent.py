"""The verbs that run until told to stop: operator and node agent.

Each turns options into the frozen settings of its part and calls that part's `main`.
What a manifest sets has an environment twin (PODNUMA_METRICS_PORT for --metrics-port).
Nothing of a part is imported before its verb is called: the agent must not pay for
Kopf, nor the operator for gRPC.
"""

import logging
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

NAMESPACE = "podnuma-system"


class LogLevel(StrEnum):
    """How much a process says."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogForm(StrEnum):
    """For people (text) or for collectors (json, one object a line)."""

    TEXT = "text"
    JSON = "json"


class RuntimeName(StrEnum):
    """Where the agent learns of containers, and through what it changes them."""

    AUTO = "auto"
    NRI = "nri"
    CRI = "cri"
    SIMULATED = "simulated"


class Metrics(StrEnum):
    """Whose names the kubelet-compatible metrics have; they were renamed in v1.37."""

    V1_36 = "v1.36"
    V1_37 = "v1.37"


Kubeconfig = Annotated[
    Path | None,
    typer.Option(help="how to reach the API server; without it the pod's service account", dir_okay=False),
]
Context = Annotated[str | None, typer.Option(help="context of the kubeconfig; its current one if left out")]
MetricsHost = Annotated[
    str, typer.Option(envvar="PODNUMA_METRICS_HOST", help="address of metrics and probes")
]
MetricsPort = Annotated[
    int, typer.Option(envvar="PODNUMA_METRICS_PORT", help="port of metrics and probes; 0 takes a free one")
]
Level = Annotated[LogLevel, typer.Option(envvar="PODNUMA_LOG_LEVEL", help="least level that is logged")]
Form = Annotated[LogForm, typer.Option(envvar="PODNUMA_LOG_FORMAT", help="for people or for collectors")]


NodeName = Annotated[
    str, typer.Option(envvar="PODNUMA_NODE_NAME", help="name of the Node object of this machine")
]
SysRoot = Annotated[Path, typer.Option(help="the host's /sys", file_okay=False)]
ProcRoot = Annotated[Path, typer.Option(help="the host's /proc", file_okay=False)]
CgroupRoot = Annotated[Path, typer.Option(help="the host's /sys/fs/cgroup", file_okay=False)]
KubeletRoot = Annotated[Path, typer.Option(help="the host's /var/lib/kubelet", file_okay=False)]
RunRoot = Annotated[Path, typer.Option(help="the host's /run, for sockets", file_okay=False)]
RuntimeOption = Annotated[
    RuntimeName, typer.Option(envvar="PODNUMA_RUNTIME", help="where containers come from; auto looks")
]
NriSocket = Annotated[Path | None, typer.Option(help="NRI socket; looked for below --run-root if left out")]
CriSocket = Annotated[Path | None, typer.Option(help="CRI socket; looked for below --run-root if left out")]


def register(app: typer.Typer) -> None:
    """Add `operator`, `agent` and `release-nodes` to the command line."""
    app.command("operator")(operator)
    agent = typer.Typer(help="The node agent: what was decided becomes cgroup values.", no_args_is_help=True)
    agent.command("run")(agent_run)
    agent.command("cleanup")(agent_cleanup)
    app.add_typer(agent, name="agent")
    app.command("release-nodes")(release_nodes)


def operator(
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str, typer.Option(envvar="PODNUMA_NAMESPACE", help="namespace of the Lease")
    ] = NAMESPACE,
    identity: Annotated[
        str, typer.Option(envvar="PODNUMA_IDENTITY", help="name in the Lease; the host name if left out")
    ] = "",
    lease: Annotated[
        bool, typer.Option(help="agree with other replicas on one writer; without it never run two")
    ] = True,
    metrics_host: MetricsHost = "0.0.0.0",  # noqa: S104 - scraped from outside the pod
    metrics_port: MetricsPort = 8080,
    resync: Annotated[
        float, typer.Option(envvar="PODNUMA_RESYNC", help="seconds between full looks at every node", min=1)
    ] = 300.0,
    log_level: Level = LogLevel.INFO,
    log_format: Form = LogForm.TEXT,
) -> None:
    """Decide: watch pods and profiles, write PodAllocations."""
    _log(log_level, log_format)
    from podnuma.operator import app, settings  # noqa: PLC0415 - the operator's imports are for this verb

    app.main(
        settings.OperatorSettings(
            kubeconfig=kubeconfig,
            context=context,
            namespace=namespace,
            identity=identity or socket.gethostname(),
            lease=settings.LeaseSettings() if lease else None,
            metrics_host=metrics_host,
            metrics_port=metrics_port,
            resync=resync,
        )
    )


def agent_run(
    node_name: NodeName,
    kubeconfig: Kubeconfig = None,
    sys_root: SysRoot = Path("/sys"),
    proc_root: ProcRoot = Path("/proc"),
    cgroup_root: CgroupRoot = Path("/sys/fs/cgroup"),
    kubelet_root: KubeletRoot = Path("/var/lib/kubelet"),
    run_root: RunRoot = Path("/run"),
    runtime: RuntimeOption = RuntimeName.AUTO,
    nri_socket: NriSocket = None,
    cri_socket: CriSocket = None,
    metrics_host: MetricsHost = "0.0.0.0",  # noqa: S104 - scraped from outside the pod
    metrics_port: MetricsPort = 9465,
    metric_names: Annotated[
        Metrics, typer.Option(envvar="PODNUMA_METRIC_NAMES", help="which kubelet's metric names")
    ] = Metrics.V1_36,
    check_seconds: Annotated[
        float, typer.Option(envvar="PODNUMA_CHECK_SECONDS", help="how often the kernel is asked", min=0.1)
    ] = 5.0,
    heartbeat_seconds: Annotated[
        float, typer.Option(envvar="PODNUMA_HEARTBEAT_SECONDS", help="how often the status says alive", min=1)
    ] = 60.0,
    log_level: Level = LogLevel.INFO,
    log_format: Form = LogForm.TEXT,
) -> None:
    """Apply: make cgroups of this node follow its PodAllocations."""
    _log(log_level, log_format)
    from podnuma.agent import app, settings  # noqa: PLC0415 - the agent's imports are for this verb

    app.main(
        settings.AgentSettings(
            node_name=node_name,
            kubeconfig=kubeconfig,
            sys_root=sys_root,
            proc_root=proc_root,
            cgroup_root=cgroup_root,
            kubelet_root=kubelet_root,
            run_root=run_root,
            runtime=settings.Runtime(runtime.value),
            nri_socket=nri_socket,
            cri_socket=cri_socket,
            metrics_host=metrics_host,
            metrics_port=metrics_port,
            metric_names=settings.MetricNames(metric_names.value),
            check_seconds=check_seconds,
            heartbeat_seconds=heartbeat_seconds,
        )
    )


def agent_cleanup(
    cgroup_root: CgroupRoot = Path("/sys/fs/cgroup"),
    kubelet_root: KubeletRoot = Path("/var/lib/kubelet"),
    run_root: RunRoot = Path("/run"),
    runtime: RuntimeOption = RuntimeName.AUTO,
    cri_socket: CriSocket = None,
    hold: Annotated[bool, typer.Option(help="stay afterwards, ready, until told to stop")] = False,
    metrics_host: MetricsHost = "0.0.0.0",  # noqa: S104 - probed from outside the pod
    metrics_port: MetricsPort = 9465,
    log_level: Level = LogLevel.INFO,
    log_format: Form = LogForm.TEXT,
) -> None:
    """Give every cgroup of this node back to the kubelet and the runtime. The agent must not run."""
    _log(log_level, log_format)
    from podnuma.agent import cleanup, settings  # noqa: PLC0415 - the agent's imports are for this verb

    cleanup.main(
        settings.AgentSettings(
            # No object of the API is touched; the name is not used.
            node_name=socket.gethostname(),
            cgroup_root=cgroup_root,
            kubelet_root=kubelet_root,
            run_root=run_root,
            runtime=settings.Runtime(runtime.value),
            cri_socket=cri_socket,
        )
    )
    if hold:
        from podnuma.cli import hold as waiting  # noqa: PLC0415 - rarely wanted

        waiting.hold(metrics_host, metrics_port)


def release_nodes(
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str, typer.Option(envvar="PODNUMA_NAMESPACE", help="where podnuma is installed")
    ] = NAMESPACE,
    operator_name: Annotated[str, typer.Option("--operator", help="its Deployment")] = "podnuma-operator",
    agent_name: Annotated[str, typer.Option("--agent", help="its DaemonSet")] = "podnuma-agent",
    timeout: Annotated[float, typer.Option(help="seconds until it gives up", min=1)] = 300.0,
) -> None:
    """Stop the operator and have all agents give their nodes back, before an uninstall."""
    from podnuma.cli import release  # noqa: PLC0415 - each verb loads its own

    names = release.Names(namespace, operator_name, agent_name, timeout)
    release.answer(release.access(kubeconfig, context), names)


def _log(level: LogLevel, form: LogForm) -> None:
    from podnuma.plumbing import logs  # noqa: PLC0415 - logging starts when a process does

    logs.start(logging.getLevelNamesMapping()[level.name], logs.LogFormat[form.name])
