"""A real containerd on any machine: its CRI and NRI are the real ones, only the kernel is left out.

`daemon` runs containerd in namespaces of its own, `low_level` is the program it runs instead of
runc: it starts a process per container and writes down the resources it was told to set.
`pods` asks for pods and containers as the kubelet would. Nothing outside a folder is touched.
"""
