"""The fixtures of the integration tests, for runs that take minutes."""

from tests.integration.conftest import (  # noqa: F401 - fixtures are found by name
    api,
    built,
    clean_cluster,
    control_plane,
    crds,
    helm,
    kwok,
    namespace,
    pytest_collection_finish,
)
