"""Reading what exists: objects in a cluster or in files, manifests, replay scenarios.

    sources                 where objects come from: a cluster, or files
    cluster, queries        a cluster as a source; what it is asked for
    documents               objects in files
    asked_names             pods, workloads and nodes as people name them
    label_selector          label selectors as kubectl's -l takes them

    nodes, profiles         nodes and what pods hold there; which profile applies
    candidate_nodes         nodes with their settings, to be asked for a decision
    scheduling_view         nodes and pods as the scheduler sees them
    kubelet_room            whether a kubelet has room for a resize
    old_reports             PodAllocations that no longer say what the kernel has
    workload_pods           what became of the pods of a workload
    cluster_facts           what `check` looks at
    device_survey           what `locality` finds
    sidecar_survey          what `savings` finds

    workloads               the pods that manifests would create
    pod_templates           the pod templates of an object, and how many pods each makes
    without_pods            kinds that hold pod templates and make no pods of them here
    object_relations        which of the manifests' objects count: there twice, made by another, named
    stored_workloads        what is stored of the manifests' objects and stays: replicas, jobs that have ended
    autoscalers             the replicas that autoscalers among the manifests give
    rolling_updates         how many pods an object keeps ready while it replaces them
    manifest_fields         fields that the API server would refuse
    admission_policies      the LimitRanges and classes that admission looks at
    server_admission        pods as the API server itself would store them
    controllers             the objects between a pod and the object of a manifest
    running_pods            the pods that run already for the objects of manifests
    volumes_of_pods         where the volumes of planned pods are already
    devices_not_chosen      the remark on devices that nobody has chosen yet

    kubelet_files           where the configuration of a kubelet is found
    kubelet_configuration   a KubeletConfiguration as a NodeProfile
    kubelet_flags           the kubelet's flags

    scenarios               one scenario of `replay`
    scenario_devices        its devices

Objects come in as JSON and leave as the API's and the allocator's types. Whatever cannot be read is a
Failure or a remark with the object's name. Nothing here prints, and nothing here writes to a cluster.
"""
