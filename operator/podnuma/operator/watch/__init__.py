"""What changes in the cluster: Kopf's watches, and lists and reads from the API server.

    kopf_source    Kopf in a thread of its own, and its events in the controller's loop
    kopf_handlers  what is registered with Kopf
    lister         lists and live reads
    live_pods      whether a pod is gone, for certain

Everything is decoded at once and handed on as cached objects; nothing is decided here.
"""
