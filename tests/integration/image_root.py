"""An image's entry point in its own root file system, as in a container, without a container engine.

A process sees the image's files, /proc and /dev, and of this machine the folders that are named, under their
own paths. Its environment is the image's and nothing else. It is the first process of its PID namespace, and
ends with the one that started it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass(frozen=True, slots=True)
class ImageRoot:
    """An unpacked image, and its `config`: user, entry point, environment."""

    folder: Path
    config: Mapping[str, Any]

    def words(
        self,
        *,
        folders: Sequence[Path] = (),
        user: str = "",
        environment: Mapping[str, str] | None = None,
        entrypoint: Sequence[str] = (),
    ) -> list[str]:
        """Return the command to which arguments are appended; without a user it runs as root."""
        root = os.geteuid() == 0
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in (environment or {}).items())]
        chroot = [str(shutil.which("chroot")), *(["--userspec", user] if root and user else [])]
        program = [*chroot, str(self.folder), *(entrypoint or self.config["Entrypoint"])]
        script = f'exec env --ignore-environment {shlex.join([*variables, *program])} "$@"'
        for each in ("/proc", "/dev", *map(str, folders)):
            seen, inside = shlex.quote(each), shlex.quote(f"{self.folder}{each}")
            script = f"mkdir -p {inside} && mount --rbind {seen} {inside} && {script}"
        identity = [] if root else ["--user", "--map-root-user"]
        return ["unshare", *identity, *_NAMESPACES, "sh", "-c", script, "podnuma"]

    def run(
        self, *words: str, environment: Mapping[str, str] | None = None, entrypoint: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, as the user that the image names."""
        command = self.words(user=self.config["User"], environment=environment, entrypoint=entrypoint)
        return subprocess.run([*command, *words], check=False, capture_output=True, text=True, timeout=60)
