"""The image that the suite's pods run: busybox and the suite's probe, both static.

python -m testbed.e2e.busybox FILE
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from testbed import build
from testbed.vm.oci import Image, write_image
from testbed.vm.payload import APPLETS, BUSYBOX


def write(busybox: Path, archive: Path) -> None:
    """Write the image from a static busybox."""
    programs = {"bin/busybox": busybox, "bin/probe": build.ensure(["probe"])["probe"]}
    write_image(
        Image(BUSYBOX, ("/bin/sh",), programs, {f"bin/{name}": "busybox" for name in APPLETS}), archive
    )


def main() -> int:
    """Write the image that the pods of the end-to-end suite run."""
    parser = argparse.ArgumentParser(prog="python -m testbed.e2e.busybox", description=main.__doc__)
    parser.add_argument("archive", type=Path, help="the file to write")
    archive = parser.parse_args().archive
    busybox = shutil.which("busybox")
    if busybox is None:
        print("a static busybox is needed: apt-get install busybox-static", file=sys.stderr)
        return 1
    archive.parent.mkdir(parents=True, exist_ok=True)
    write(Path(busybox), archive)
    print(f"{archive}  {BUSYBOX}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
