"""`python -m testbed.demo`: play the demo; --keep leaves it running, --stop ends those left running."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from testbed import build
from testbed.demo import background
from testbed.demo.failure import DemoFailedError
from testbed.demo.story import Demo
from testbed.processes import ProcessFailedError

KEPT = """
Everything keeps running. To look around in this shell (the page until Ctrl-C), and to stop it:

    export KUBECONFIG={kubeconfig} PATH={places}:$PATH
    kubectl podnuma explain pod database
    kubectl podnuma plan -f examples/pods/too-large.yaml
    kubectl podnuma ui
    make demo-stop
"""
ENDED = """
All of it has ended again. The same left running; an empty cluster to install podnuma in; this machine:

    make demo KEEP=1
    make playground
    PATH={places}:$PATH podnuma discover -o text
"""
FAILURES = (DemoFailedError, build.BuildError, ProcessFailedError, TimeoutError)


def main() -> int:
    """Parse the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m testbed.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    parser.add_argument("--stop", action="store_true", help="stop demos that were left running")
    parser.add_argument("--report-to", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if options.stop:
            stopped = background.stop()
            print(f"stopped {stopped} demo{'' if stopped == 1 else 's'}")
            return 0
        if options.keep:
            build.ensure([*build.CONTROL_PLANE, "kwok"])
            return background.start()
        return play(options.report_to)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except FAILURES as error:
        print(f"\nthe demo failed: {error}", file=sys.stderr)
        return 1


def play(report_to: int | None) -> int:
    """Play the demo and end it, or, in the background process, keep it running."""
    demo = Demo()
    with demo.running():
        if report_to is not None:
            places = f"{demo.cluster.tools['kubectl'].parent}:{Path(sys.executable).parent}"
            print(KEPT.format(kubeconfig=demo.cluster.kubeconfig, places=places))
            background.keep(demo, report_to)
    print(ENDED.format(places=Path(sys.executable).parent), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
