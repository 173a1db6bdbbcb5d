"""`podnuma agent run` and `podnuma agent cleanup`: the node agent, and how a node is given back.

Options become AgentSettings; what a manifest sets has an environment variable too
(PODNUMA_METRICS_PORT for --metrics-port).
"""

import asyncio
import datetime as dt
import functools
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer
from podnuma.agent.settings import AgentSettings, MetricNames, Runtime
from podnuma.cli.commands.extras import needs_extra
from podnuma.cli.commands.options import (
    LogFormatOption,
    LogLevel,
    LogLevelOption,
    MetricsCertificates,
    MetricsHost,
    MetricsPort,
    MetricsSecure,
    PodKubeconfig,
    examples,
    new_app,
    serving_certificate,
    start_logging,
)
from podnuma.plumbing import probes
from podnuma.plumbing.logs import LogFormat
from podnuma.plumbing.serving_certificate import ServingCertificate

NodeName = Annotated[
    str, typer.Option(envvar="PODNUMA_NODE_NAME", help="name of the Node object of this machine")
]
SysRoot = Annotated[Path, typer.Option(help="the host's /sys", file_okay=False)]
ProcRoot = Annotated[Path, typer.Option(help="the host's /proc", file_okay=False)]
CgroupRoot = Annotated[Path, typer.Option(help="the host's /sys/fs/cgroup", file_okay=False)]
KubeletRoot = Annotated[Path, typer.Option(help="the host's /var/lib/kubelet", file_okay=False)]
RunRoot = Annotated[Path, typer.Option(help="the host's /run, for sockets", file_okay=False)]
RuntimeOption = Annotated[
    Runtime,
    typer.Option(envvar="PODNUMA_RUNTIME", help="how containers are found; auto: NRI if its socket exists"),
]
NriSocket = Annotated[Path | None, typer.Option(help="NRI socket; looked for below --run-root if left out")]
CriSocket = Annotated[Path | None, typer.Option(help="CRI socket; looked for below --run-root if left out")]

app = new_app("The node agent: applies PodAllocations to the cgroups of its node.")


@app.command(
    "run",
    epilog=examples(
        "podnuma agent run --node-name node-1 --log-level debug",
    ),
)
def run_agent(
    node_name: NodeName,
    kubeconfig: PodKubeconfig = None,
    sys_root: SysRoot = Path("/sys"),
    proc_root: ProcRoot = Path("/proc"),
    cgroup_root: CgroupRoot = Path("/sys/fs/cgroup"),
    kubelet_root: KubeletRoot = Path("/var/lib/kubelet"),
    run_root: RunRoot = Path("/run"),
    runtime: RuntimeOption = Runtime.AUTO,
    nri_socket: NriSocket = None,
    cri_socket: CriSocket = None,
    metrics_host: MetricsHost = "",
    metrics_port: MetricsPort = 9465,
    metrics_secure: MetricsSecure = False,
    metrics_cert_dir: MetricsCertificates = None,
    metric_names: Annotated[
        MetricNames,
        typer.Option(envvar="PODNUMA_METRIC_NAMES", help="the kubelet version whose metric names are used"),
    ] = MetricNames.V1_36,
    check_seconds: Annotated[
        float,
        typer.Option(envvar="PODNUMA_CHECK_SECONDS", help="seconds between reads of the kernel", min=0.1),
    ] = 5.0,
    heartbeat_seconds: Annotated[
        float,
        typer.Option(envvar="PODNUMA_HEARTBEAT_SECONDS", help="seconds between status heartbeats", min=1),
    ] = 60.0,
    log_level: LogLevelOption = LogLevel.INFO,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run the node agent: keep the cgroups of this node as its PodAllocations say."""
    start_logging(log_level, log_format)
    with needs_extra("agent"):
        from podnuma.agent import app as agent_app  # noqa: PLC0415 - loads gRPC, which --help needs not

    agent_app.main(
        AgentSettings(
            node_name=node_name,
            kubeconfig=kubeconfig,
            sys_root=sys_root,
            proc_root=proc_root,
            cgroup_root=cgroup_root,
            kubelet_root=kubelet_root,
            run_root=run_root,
            runtime=runtime,
            nri_socket=nri_socket,
            cri_socket=cri_socket,
            metrics_host=metrics_host,
            metrics_port=metrics_port,
            metrics_certificate=serving_certificate(metrics_secure, metrics_cert_dir),
            metric_names=metric_names,
            check_seconds=check_seconds,
            heartbeat_seconds=heartbeat_seconds,
        )
    )


@app.command(
    "cleanup",
    epilog=examples(
        "podnuma agent cleanup",
        "podnuma agent cleanup --kubelet-root /var/lib/k0s/kubelet",
    ),
)
def clean_up(
    cgroup_root: CgroupRoot = Path("/sys/fs/cgroup"),
    kubelet_root: KubeletRoot = Path("/var/lib/kubelet"),
    run_root: RunRoot = Path("/run"),
    runtime: RuntimeOption = Runtime.AUTO,
    cri_socket: CriSocket = None,
    hold: Annotated[bool, typer.Option(help="stay running and ready afterwards, until told to stop")] = False,
    metrics_host: MetricsHost = "",
    metrics_port: MetricsPort = 9465,
    metrics_secure: MetricsSecure = False,
    metrics_cert_dir: MetricsCertificates = None,
    log_level: LogLevelOption = LogLevel.INFO,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Give all cgroups of this node back to the kubelet and the runtime. The agent must not be running."""
    start_logging(log_level, log_format)
    with needs_extra("agent"):
        from podnuma.agent import cleanup  # noqa: PLC0415 - loads gRPC, which --help needs not

    cleanup.main(
        AgentSettings(
            # No object of the API is touched; the name is not used.
            node_name=socket.gethostname(),
            cgroup_root=cgroup_root,
            kubelet_root=kubelet_root,
            run_root=run_root,
            runtime=runtime,
            cri_socket=cri_socket,
        )
    )
    if hold:
        stay_ready(metrics_host, metrics_port, serving_certificate(metrics_secure, metrics_cert_dir))


def stay_ready(host: str, port: int, certificate: ServingCertificate | None) -> None:
    """Answer /healthz and /readyz with 200 until SIGTERM or SIGINT.

    A container of a DaemonSet is restarted when it ends, which would run the cleanup over and over.
    """
    asyncio.run(_stay_ready(host, port, certificate))


async def _stay_ready(host: str, port: int, certificate: ServingCertificate | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    healthy = probes.Probes(lambda: None, lambda: None, lambda: ("text/plain", b""))
    now = functools.partial(dt.datetime.now, dt.UTC)
    tls = None if certificate is None else certificate.context(socket.gethostname(), now)
    server = await probes.serve(healthy, host, port, tls)
    await stop.wait()
    server.close()
