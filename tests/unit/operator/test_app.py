"""A process that cannot go on ends, and says why."""

import asyncio
from pathlib import Path

import pytest
from podnuma.operator.app import OperatorProcess, RewoundError
from podnuma.operator.settings import LeaseSettings, OperatorSettings

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: none
contexts: [{name: none, context: {cluster: none}}]
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
"""


async def test_a_process_ends_whose_api_server_was_set_back(tmp_path: Path):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    settings = OperatorSettings(kubeconfig=kubeconfig, lease=LeaseSettings(), metrics_port=None)
    process = OperatorProcess(settings)
    rewound = asyncio.Event()
    assert process.elector is not None
    process.elector.rewound = rewound.wait  # type: ignore[method-assign,assignment]
    running = asyncio.create_task(process.run(asyncio.Event()))
    rewound.set()
    with pytest.raises(RewoundError, match="as after the restore of a backup of etcd"):
        async with asyncio.timeout(30):
            await running
