#!/usr/bin/env bash
# Packages: PyPI `kubernetes` 37.0.2; Go module `k8s.io/client-go` v0.37.2 (the loader of kubectl).
# Question: KUBECONFIG names two files. Each has a context of its own and makes it the current one. Which
#   cluster does a program in Python talk to, and which one does kubectl in the same shell?
# One would guess: the same. Of clusters, users and contexts of one name both take the first file's.
# Seen: kubectl's loader takes the current context of the first file, the Python client that of the last: a
#   script works on the second file's cluster while kubectl, asked before, showed the first one's.
# Why: client-go keeps what an earlier file has set. The Python client's KubeConfigMerger adds to lists only
#   names that are missing, but sets current-context again for every file that has one.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check kubernetes==37.0.2

for name in blue green; do
    cat > "$name.yaml" <<K
apiVersion: v1
kind: Config
current-context: $name
clusters: [{name: $name, cluster: {server: "https://$name.example"}}]
users: [{name: $name, user: {token: $name}}]
contexts: [{name: $name, context: {cluster: $name, user: $name}}]
K
done

cat > python.py <<'P'
from kubernetes import client, config

loaded = client.Configuration()
config.load_kube_config(config_file="blue.yaml:green.yaml", client_configuration=loaded)
print("python", loaded.host)
P
.venv/bin/python python.py > seen

cat > go.mod <<'G'
module ask

go 1.26.0

require k8s.io/client-go v0.37.2
G
cat > main.go <<'G'
package main

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: []string{"blue.yaml", "green.yaml"}}
	loaded, err := rules.Load()
	if err != nil {
		panic(err)
	}
	context := loaded.Contexts[loaded.CurrentContext]
	fmt.Println("client-go", loaded.Clusters[context.Cluster].Server)
}
G
GOFLAGS=-mod=mod go run . >> seen

cat > expected <<'E2'
python https://green.example
client-go https://blue.example
E2
diff expected seen
cat seen
