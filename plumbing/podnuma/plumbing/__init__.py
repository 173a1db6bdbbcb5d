"""What any long-running Kubernetes client needs, whatever it is for.

Nothing here knows about CPUs or NUMA nodes, and nothing here imports another part of podnuma:

    backoff    how long to wait after the n-th failure
    workqueue  keys to be processed: coalesced, one run at a time each, retried with back-off
    supervise  coroutines that must never end, restarted when they do
    threads    blocking calls that the end of the process does not wait for
    remembered the last answer of a pure function
    gc_tuning  garbage collection without long pauses
    logs       one line per record, as text or JSON
    probes     the port with /healthz, /readyz and /metrics
    metrics_readers      who may read the metrics of that port
    serving_certificate  its TLS
    kube/      talking to an API server: credentials, requests, retries, and its errors
"""
