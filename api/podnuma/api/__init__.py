"""What podnuma reads from and writes to a Kubernetes API: objects as values, and the JSON of them.

The one place that knows field names. Each module turns one kind of JSON object into a frozen
value and back, in the terms of ``podnuma.allocator``:

    names             group, labels, annotations, field managers
    resource_types    kinds, their groups and versions, and the paths under which they are served
    decoding          untrusted JSON to values: path, bounds, all errors at once
    object_metadata   the metadata of an object, and how an error names the object
    stored_json       parts of JSON: what has another type than expected counts as absent
    selector          label selectors: parse, render, match
    quantity          amounts: text or number in, exact text out
    pod               v1 Pod to the allocator's request
    asked_resources   what its spec or its annotation asks for; equal ones are read once
    pod_defaults      what the API server fills in, for manifests that were never saved
    pod_admission     what its admission plugins change, as far as decisions depend on it
    limit_ranges      what a LimitRange gives to containers, and what it refuses
    resource_quotas   what a ResourceQuota leaves for new pods
    pod_resize        a pod's resources as its kubelet has allocated them, and their revision
    claimed_resources what a pod has of its node by claims, beside what it requests
    resource_names    what the API server refuses of a pod's resources, beside amounts
    resize_policy     which resizes a profile leaves to others
    pod_condition     the condition that a refused pod carries
    kept_refusals     refusals that outlive their pods
    kernel_reports    what a status says of the kernel, and when it is out of date
    device_claims     devices of dynamic resource allocation: who uses which, and where they are
    asked_devices     what a claim asks for before it has anything
    device_inventory  the devices of all nodes that no claim has
    device_plugins    devices of device plugins: who asks for which, and what was reported of them
    node_resource_topology    what topology-aware schedulers read of a node's NUMA nodes
    placement         what a pod without a node says of its placement, and what is written to it
    pod_needs         what a pod requests of its node, as the scheduler counts it
    scheduling        the filters of kube-scheduler that look at one node
    node_features     what a pod's spec rests on that not every kubelet and runtime has
    volumes           to which nodes the volumes of a pod can be attached
    node_settings     the settings part that NodeProfile and NodeTopology share
    hardware          cores, sockets, caches and NUMA nodes as CPU lists
    grant             what a pod holds, exact in both directions
    spec_checksum     the checksum in the spec of a PodAllocation
    node_profile, node_topology, pod_allocation    the three custom resources
    node_conditions                                the conditions of a NodeTopology, and why it is not Ready
    node_allocation                                what is given out on a node, in its NodeTopology
    pod_allocation_status                          what became of a PodAllocation
    conditions, events                             status conditions and v1 Events

What may move in: the form of objects, and the API server's rules about them. A default that the kubelet
applies is the allocator's. No I/O, no clock, no client library. Parsers raise ``InvalidObjectError``
and nothing else, whatever they are given. A test compares every field with ``crds/``.
"""
