"""What a running pod holds after a resize in place: never a CPU or a byte moved that it keeps.

The kubelet's static policies refuse such resizes; here they follow from what the pod holds. Growing adds
free CPUs of the pod's own NUMA nodes, by the same picking as an admission; more nodes only where the
topology policy would admit the pod on them. Shrinking keeps the CPUs that a packing of what it holds takes
first. Memory grows and shrinks on the NUMA nodes it is on, never elsewhere.

    growth      more CPUs for one holder, under the topology policy
    bubble      the CPUs of a budget: slices, the pod shared pool, init containers
    containers  CPUs and memory of single containers
    memory      the memory of a budget
    decide      one resize from beginning to end; the same request again gives the same grant
"""
