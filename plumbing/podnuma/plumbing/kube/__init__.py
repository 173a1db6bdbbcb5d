"""Talking to an API server.

errors             one map from what clients raise to what callers can act on
client             raw requests: deadlines, JSON in and out
credentials        who asks: by a kubeconfig, or as the service account of a pod
kubectl_yaml       YAML as kubectl reads it
kubectl_text       texts as kubectl reads them: encodings, JSON, YAML
kubeconfig         files that say where a cluster is and who its user is
exec_plugin        credentials from a program that a kubeconfig names
plugin_policy      which of these programs may be run, by kubectl's preferences
endpoint           address, certificates and proxy of a server
environment_proxy  the proxy that the environment names for a server
connector          connections: certificates and proxies
socks              those through a SOCKS5 proxy
content_types      of requests: what a PATCH means
apply_body         JSON that is YAML, too, for server-side apply
retrying_session   an aiohttp session that repeats what failed, for watches of others
"""
