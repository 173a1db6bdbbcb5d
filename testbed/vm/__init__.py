"""A virtual machine with two NUMA nodes: real kernel, systemd, containerd and kubelet.

`rootfs` makes the operating system once (Debian packages, cached), `payload` makes the small disk
that a run adds to it (programs, configuration, keys, images), `machine` runs QEMU and gives a
shell, `node` joins it to a control plane. Nothing here is mounted and no device is touched: disk
images are written by mke2fs from folders, and the machine reaches only ports of this host.
"""
