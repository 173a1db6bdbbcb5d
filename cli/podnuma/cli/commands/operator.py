"""`podnuma operator`: runs the operator until it is stopped.

Options become OperatorSettings; what a manifest sets has an environment variable too
(PODNUMA_METRICS_PORT for --metrics-port).
"""

import socket
from typing import Annotated

import typer
from podnuma.cli.commands.extras import needs_extra
from podnuma.cli.commands.options import (
    Context,
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
from podnuma.cli.exits import INSTALL_NAMESPACE
from podnuma.operator.settings import LeaseSettings, OperatorSettings
from podnuma.plumbing.logs import LogFormat

app = new_app()


@app.command(
    "operator",
    epilog=examples(
        "podnuma operator --kubeconfig ~/.kube/config --log-level debug",
    ),
)
def run_operator(
    kubeconfig: PodKubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str, typer.Option(envvar="PODNUMA_NAMESPACE", help="namespace of the Lease")
    ] = INSTALL_NAMESPACE,
    identity: Annotated[
        str, typer.Option(envvar="PODNUMA_IDENTITY", help="name in the Lease; the host name if left out")
    ] = "",
    lease: Annotated[
        bool, typer.Option(help="elect a leader among replicas; without it, never run more than one")
    ] = True,
    metrics_host: MetricsHost = "",
    metrics_port: MetricsPort = 8080,
    metrics_secure: MetricsSecure = False,
    metrics_cert_dir: MetricsCertificates = None,
    resync: Annotated[
        float, typer.Option(envvar="PODNUMA_RESYNC", help="seconds between full passes over all nodes", min=1)
    ] = 300.0,
    export_resource_topologies: Annotated[
        bool,
        typer.Option(
            "--export-node-resource-topologies",
            envvar="PODNUMA_EXPORT_NODE_RESOURCE_TOPOLOGIES",
            help="write NodeResourceTopologies for the NUMA-aware scheduler plugin",
        ),
    ] = False,
    placement: Annotated[
        bool,
        typer.Option(
            "--placement",
            envvar="PODNUMA_PLACEMENT",
            help="place pods that carry the scheduling gate podnuma.dev/placement before they are bound",
        ),
    ] = False,
    log_level: LogLevelOption = LogLevel.INFO,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run the operator: watch pods and profiles, write PodAllocations."""
    start_logging(log_level, log_format)
    with needs_extra("operator"):
        from podnuma.operator import app as operator_app  # noqa: PLC0415 - loads Kopf, which --help needs not

    operator_app.main(
        OperatorSettings(
            kubeconfig=kubeconfig,
            context=context,
            namespace=namespace,
            identity=identity or socket.gethostname(),
            lease=LeaseSettings() if lease else None,
            metrics_host=metrics_host,
            metrics_port=metrics_port,
            metrics_certificate=serving_certificate(metrics_secure, metrics_cert_dir),
            resync=resync,
            export_resource_topologies=export_resource_topologies,
            placement=placement,
        )
    )
