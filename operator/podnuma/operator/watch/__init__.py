"""What changes in the cluster: Kopf's watches, and lists and reads from the API server.

Everything is decoded at once and handed on as cached objects; nothing is decided here.
"""
