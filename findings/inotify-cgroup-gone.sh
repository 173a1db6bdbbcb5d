#!/usr/bin/env bash
# Package: `asyncinotify` 4.4.4, on Linux 6.18 with a cgroup v2 of its own (as root, in a mount namespace).
# Question: is who watches a cgroup with inotify told when that cgroup is removed?
# One would guess: yes: a watch on a folder that is removed gives DELETE_SELF and then IGNORED, as inotify(7) says and
#   every other file system does it, so a watcher knows that it has to look for the new one.
# Seen: neither. What is made in the cgroup is told (CREATE), what is removed in it, too (DELETE), but not its own end.
#   The watch stays, a cgroup that is made under the same name afterwards is another one, and its children are
#   told to nobody. A watcher of kubepods or of a slice is deaf for good after its unit was stopped and started.
# Why: the kernel tells of a folder's end when its count of links has come to zero, and kernfs, which cgroups are made
#   of, leaves that of a removed folder as it was. Adding the watch again says it: another number is another folder.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install --quiet asyncinotify==4.4.4

cat > ask.py <<'E'
import os
import sys

from asyncinotify import Inotify, Mask

MASK = Mask.CREATE | Mask.DELETE | Mask.DELETE_SELF | Mask.ONLYDIR


def told(inotify):
    names = []
    while (event := inotify.sync_get()) is not None:
        names.append((event.mask & ~Mask.ISDIR).name)
    return " ".join(names) or "nothing"


for root in sys.argv[1:]:
    folder = os.path.join(root, "slice")
    os.mkdir(folder)
    with Inotify(sync_timeout=0.2) as inotify:
        watch = inotify.add_watch(folder, MASK)
        os.mkdir(f"{folder}/pod")
        print(os.path.basename(root), "- a child is made:", told(inotify))
        os.rmdir(f"{folder}/pod")
        print(os.path.basename(root), "- it is removed:", told(inotify))
        os.rmdir(folder)
        print(os.path.basename(root), "- the folder is removed:", told(inotify))
        os.mkdir(folder)
        os.mkdir(f"{folder}/pod")
        print(os.path.basename(root), "- both are made again:", told(inotify))
        print(os.path.basename(root), "- another watch:", inotify.add_watch(folder, MASK).wd != watch.wd)
    os.rmdir(f"{folder}/pod")
    os.rmdir(folder)
E
mkdir tmpfs cgroup2
uname -r
unshare --mount sh -euc '
    mount -t tmpfs none tmpfs
    mount -t cgroup2 none cgroup2
    mkdir cgroup2/finding-$$
    mkdir tmpfs/tmpfs
    mount --bind cgroup2/finding-$$ cgroup2
    venv/bin/python ask.py "$PWD/tmpfs/tmpfs" "$PWD/cgroup2"
    umount cgroup2
    rmdir cgroup2/finding-$$
' | tee seen

cat > expected <<'E'
tmpfs - a child is made: CREATE
tmpfs - it is removed: DELETE
tmpfs - the folder is removed: DELETE_SELF IGNORED
tmpfs - both are made again: nothing
tmpfs - another watch: True
cgroup2 - a child is made: CREATE
cgroup2 - it is removed: DELETE
cgroup2 - the folder is removed: nothing
cgroup2 - both are made again: nothing
cgroup2 - another watch: True
E
diff -u expected seen
