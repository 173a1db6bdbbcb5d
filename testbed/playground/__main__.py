"""`python -m testbed.playground`: an empty cluster to install podnuma into, and a shell in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from testbed import build
from testbed.installation import ROOT
from testbed.playground.cluster import Playground
from testbed.processes import ProcessFailedError, hear_ctrl_c

STARTING = """\
starting etcd, API server, controller manager, scheduler and two simulated nodes: a shell opens in half a
minute, the first time in some minutes, since they are built before"""
WELCOME = """
An empty cluster; kubectl, helm and podnuma are on the PATH. Go on with README.md, chapter "Install", at
`kubectl podnuma check`, word by word: no image is pulled, so any name of one will do. NODE is node-1.
`exit` ends everything.
Logs are in {folder}/podnuma-*.log.
"""
_RC = """\
[ -f ~/.bashrc ] && . ~/.bashrc
export PATH="$PLAYGROUND_PATH"
PS1="(playground) $PS1"
"""


def main() -> int:
    """Start the cluster and a shell, and return 0, or the shell's status if it read a pipe."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(STARTING, flush=True)
    try:
        with Playground() as playground:
            for name, node in playground.nodes.items():
                machine = node.machine
                print(f"{name}: {len(machine.online)} CPUs, {len(machine.nodes)} NUMA nodes")
            print(WELCOME.format(folder=playground.cluster.folder), flush=True)
            return shell(playground)
    except KeyboardInterrupt:
        return 130
    except (build.BuildError, ProcessFailedError, TimeoutError) as error:
        print(f"\nthe playground failed: {error}", file=sys.stderr)
        return 1


def shell(playground: Playground) -> int:
    """Run a shell in the project's folder: one for a person, or one that reads commands from a pipe.

    The status of a person's shell is that of its last command, and says nothing: it was left as it should be.
    """
    environment = playground.environment()
    argv, person = ["bash", "-s"], sys.stdin.isatty()
    if person:
        rc = playground.cluster.folder / "bashrc"
        rc.write_text(_RC)
        environment |= {"PLAYGROUND_PATH": environment["PATH"]}
        given = os.environ.get("SHELL") or "bash"
        argv = ["bash", "--rcfile", str(rc), "-i"] if Path(given).name == "bash" else [given, "-i"]
    # Ctrl-C belongs to what runs in the shell.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ended = subprocess.run(argv, check=False, cwd=ROOT, env=environment, preexec_fn=hear_ctrl_c)
    return 0 if person else ended.returncode


if __name__ == "__main__":
    sys.exit(main())
