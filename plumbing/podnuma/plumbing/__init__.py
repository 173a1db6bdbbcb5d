"""What a careful Kubernetes client process needs, whatever it is for.

Only code that would make sense in a project without CPUs moves in here, and nothing
in here imports another part of podnuma:

    backoff   how long to wait after the n-th failure
    dirty     keys that want work: coalesced, one worker each, retried with back-off
    tasks     endless coroutines under supervision
    logs      one line per state change, as text or JSON
    probes    the port with /healthz, /readyz and /metrics
    kube/     talking to an API server: credentials, requests, and one map of its errors
"""
