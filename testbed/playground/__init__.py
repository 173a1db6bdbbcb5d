"""A cluster to install podnuma into by hand, with nothing of it there yet.

`pods` takes the place of kubelets for podnuma's own pods: when the chart makes them, it starts processes.
`cluster` is the control plane with its two nodes, `__main__` the shell in it.
"""
