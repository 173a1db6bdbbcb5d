"""The only way out: conditional writes of the leader, stored decisions and Kubernetes Events."""
