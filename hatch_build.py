"""Generate the protobuf modules beside their .proto files when the package is built.

`foo.proto` below a source root becomes `foo_pb2.py` and `foo_pb2.pyi` in the same folder, for
wheels and for editable installs alike. Generated files are ignored by git, hence named as
artifacts. The import path of a generated module is its path below the source root.
"""

from importlib import resources
from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE_ROOT = "node-agent"


class ProtobufBuildHook(BuildHookInterface[Any]):
    """Named by `[tool.hatch.build.hooks.custom]` in pyproject.toml."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate before files are collected; an unusable .proto ends the build with its own text."""
        del version
        source_root = Path(self.root, SOURCE_ROOT)
        protos = sorted(path.relative_to(source_root).as_posix() for path in source_root.rglob("*.proto"))
        well_known = resources.files("grpc_tools") / "_proto"
        arguments = [
            "protoc",
            f"-I{source_root}",
            f"-I{well_known}",
            f"--python_out={source_root}",
            f"--pyi_out={source_root}",
            *protos,
        ]
        if protoc.main(arguments) != 0:
            message = f"protoc refused one of {', '.join(protos)} below {source_root}; its text stands above"
            raise RuntimeError(message)
        build_data["artifacts"] += [f"{SOURCE_ROOT}/**/*_pb2.py", f"{SOURCE_ROOT}/**/*_pb2.pyi"]
