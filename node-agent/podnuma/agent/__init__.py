"""The node agent: makes the cgroups of one node say what its PodAllocations say.

    watch -> target -> plan -> hook or apply -> kernel -> verify -> report

Data flows one way; the ring closes outside this process, in the kernel and in the API server.
`verify` finds drift and marks the plan dirty, it repairs nothing; `plan` is pure.

Who may live here: `discover`, `nri`, `cri` and `cgroups` are leaves that know nothing of podnuma
but sets of CPUs and NUMA nodes; `plan` imports no leaf; `app` is the only cgroup that wires.
This file stays empty of code, so that a pure module can be imported without a client library.
"""
