"""A real containerd on any machine: CRI and NRI are real, only cgroups are not touched.

`daemon` runs containerd in namespaces of its own, `fake_runc` is the program it runs instead of
runc: it starts a process per container and records the resources it should have set.
`pods` creates pods and containers as the kubelet does. Nothing outside one folder is touched.
"""
