"""Options that several commands share, declared once so that they read alike everywhere."""

import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from podnuma.plumbing import logs

if TYPE_CHECKING:
    from podnuma.plumbing.serving_certificate import ServingCertificate


def _complete_namespace(ctx: typer.Context, incomplete: str) -> list[str]:
    from podnuma.cli.commands.completion import complete_namespace  # noqa: PLC0415 - agents share this module

    return complete_namespace(ctx, incomplete)


class OutputFormat(StrEnum):
    """The value of --output: text and wide for people, json and yaml for programs."""

    TEXT = "text"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def structured(self) -> bool:
        """Whether a program reads this."""
        return self in (OutputFormat.JSON, OutputFormat.YAML)


class LogLevel(StrEnum):
    """The value of --log-level: the least severe level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


# Of commands that a person runs against a cluster or saved objects.
Kubeconfig = Annotated[
    Path | None,
    typer.Option(help="how to reach the cluster; $KUBECONFIG or ~/.kube/config if left out", dir_okay=False),
]
Context = Annotated[str | None, typer.Option(help="context of the kubeconfig; the current one if left out")]
Output = Annotated[
    OutputFormat, typer.Option("--output", "-o", help="text or wide for people, json or yaml for programs")
]
Files = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="read saved objects instead of a cluster: a file, a folder or - for standard input; repeatable",
    ),
]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        help="this namespace; that of the context if left out",
        autocompletion=_complete_namespace,
    ),
]


def _selector(written: str) -> str:
    """Refuse what is no selector before anybody is asked."""
    from podnuma.cli.objects.label_selector import parse_selector  # noqa: PLC0415 - agents share this module

    parse_selector(written)
    return written


NodeSelector = Annotated[
    str, typer.Option("--selector", "-l", help="nodes with these labels, as in kubectl", callback=_selector)
]
PodSelector = Annotated[
    str, typer.Option("--selector", "-l", help="pods with these labels, as in kubectl", callback=_selector)
]
NoHeaders = Annotated[bool, typer.Option("--no-headers", help="leave out the line of headings")]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="all namespaces")]

# Of commands that run in a pod.
PodKubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        help="how to reach the API server; the pod's service account if left out",
        dir_okay=False,
    ),
]
MetricsHost = Annotated[
    str, typer.Option(envvar="PODNUMA_METRICS_HOST", help="address of metrics and probes; all if left out")
]
MetricsPort = Annotated[
    int, typer.Option(envvar="PODNUMA_METRICS_PORT", help="port of metrics and probes; 0 takes a free one")
]
MetricsSecure = Annotated[
    bool,
    typer.Option(
        "--metrics-secure",
        envvar="PODNUMA_METRICS_SECURE",
        help="TLS on that port; /metrics only for accounts that the API server lets get it",
    ),
]
MetricsCertificates = Annotated[
    Path | None,
    typer.Option(
        "--metrics-cert-dir",
        envvar="PODNUMA_METRICS_CERT_DIR",
        help="folder with tls.crt and tls.key, for --metrics-secure; made at the start if left out",
        file_okay=False,
    ),
]
LogLevelOption = Annotated[
    LogLevel,
    typer.Option("--log-level", envvar="PODNUMA_LOG_LEVEL", help="least severe level that is logged"),
]
LogFormatOption = Annotated[
    logs.LogFormat,
    typer.Option(
        "--log-format", envvar="PODNUMA_LOG_FORMAT", help="text for people, json for log collectors"
    ),
]


def serving_certificate(secure: bool, folder: Path | None) -> "ServingCertificate | None":
    """Return what --metrics-secure and --metrics-cert-dir say together."""
    if folder is not None and not secure:
        raise typer.BadParameter("needs --metrics-secure as well", param_hint="--metrics-cert-dir")
    if not secure:
        return None
    from podnuma.plumbing.serving_certificate import ServingCertificate  # noqa: PLC0415 - TLS is slow to load

    return ServingCertificate(folder)


def examples(*lines: str) -> str:
    """Return the end of a command's help: how it is called, a line each as it stands."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def new_app(summary: str | None = None) -> typer.Typer:
    """Return an empty Typer app for the commands of one module; `summary` is the help of a group."""
    return typer.Typer(
        help=summary,
        no_args_is_help=summary is not None,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def start_logging(level: LogLevel, form: logs.LogFormat) -> None:
    """Start logging to standard error, as the options say."""
    logs.start_logging(logging.getLevelNamesMapping()[level.name], form)
