#!/usr/bin/env bash
# Package: PyPI `kubesdk` 0.3.4 with `kube-models` 0.6.0, and what the API server does with a patch: Go module
#   `k8s.io/apimachinery` v0.37.2, util/strategicpatch.
# Question: update_k8s_resource(new, built_from_latest=old) sends the difference as a strategic merge patch. One
#   list of a Deployment's container is changed; does the Deployment become the new one?
# One would guess: yes: the models carry each list's patch strategy and merge key (name, containerPort, mountPath).
# Seen: only for the environment. A new containerPort or mountPath is added beside the old one, which stays. A second
#   mount of the same volume is refused for want of the key. A changed resizePolicy gives an empty patch,
#   which is not sent, as a line of the log says. If arguments are only taken away, it is done by value: of a
#   flag that was there twice and should be there once, both stay.
# Why: the look-up of a list's key goes down the models by the path, and the path has "name" and the container's name
#   where the model has the list `containers`; it gives up there and answers with the last key that it has seen,
#   name, for each list inside. So entries are paired and ordered by their names, not by the key that the server
#   uses, and two lists whose entries have none seem equal. $deleteFromPrimitiveList is for sets, but is written for
#   each list of strings.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check kubesdk==0.3.4 kube-models==0.6.0

cat > ask.py <<'E'
import json

from kube_models.apis_apps_v1.io.k8s.api.apps.v1 import Deployment
from kubesdk import json_patch_from_diff, jsonpatch_to_smp


def deployment(**container):
    return Deployment.from_dict({
        'apiVersion': 'apps/v1',
        'kind': 'Deployment',
        'metadata': {'name': 'web'},
        'spec': {
            'selector': {'matchLabels': {'app': 'web'}},
            'template': {
                'metadata': {'labels': {'app': 'web'}},
                'spec': {'containers': [{'name': 'main', **container}]},
            },
        },
    })


def ask(field, before, after):
    old, new = deployment(**{field: before}), deployment(**{field: after})
    patch = jsonpatch_to_smp(old, json_patch_from_diff(old.to_dict(), new.to_dict()))
    print(json.dumps({'wanted': {field: after}, 'old': old.to_dict(), 'patch': patch}))


mount, other = {'name': 'data', 'mountPath': '/a'}, {'name': 'data', 'mountPath': '/b'}
cpu = {'resourceName': 'cpu', 'restartPolicy': 'NotRequired'}
ask('env', [{'name': 'A', 'value': '1'}, {'name': 'B', 'value': '2'}], [{'name': 'A', 'value': '3'}])
ask('ports', [{'name': 'http', 'containerPort': 80}], [{'name': 'http', 'containerPort': 81}])
ask('volumeMounts', [mount], [other])
ask('volumeMounts', [mount], [mount, other])
ask('resizePolicy', [cpu], [{**cpu, 'restartPolicy': 'RestartContainer'}])
ask('args', ['-v', 'x', '-v', 'y'], ['-v', 'x'])
E
venv/bin/python ask.py > patches

cat > go.mod <<'E'
module ask

go 1.26.0

require (
	k8s.io/api v0.37.2
	k8s.io/apimachinery v0.37.2
)
E
cat > main.go <<'E'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func applied(old, patch []byte) string {
	merged, err := strategicpatch.StrategicMergePatch(old, patch, appsv1.Deployment{})
	if err != nil {
		return err.Error()
	}
	deployment := &appsv1.Deployment{}
	check(json.Unmarshal(merged, deployment))
	got, err := json.Marshal(deployment.Spec.Template.Spec.Containers[0])
	check(err)
	return string(got)
}

func main() {
	for lines := json.NewDecoder(os.Stdin); lines.More(); {
		var line struct{ Wanted, Old, Patch json.RawMessage }
		check(lines.Decode(&line))
		fmt.Printf("wanted %s\n", line.Wanted)
		if string(line.Patch) == "{}" {
			fmt.Println("   not sent")
		} else {
			fmt.Printf("   got %s\n", applied(line.Old, line.Patch))
		}
	}
}
E
go build -o ask . 2> log || { cat log >&2; exit 1; }
./ask < patches | tee seen

cat > expected <<'E'
wanted {"env": [{"name": "A", "value": "3"}]}
   got {"name":"main","env":[{"name":"A","value":"3"}],"resources":{}}
wanted {"ports": [{"name": "http", "containerPort": 81}]}
   got {"name":"main","ports":[{"name":"http","containerPort":81},{"name":"http","containerPort":80,"protocol":"TCP"}],"resources":{}}
wanted {"volumeMounts": [{"name": "data", "mountPath": "/b"}]}
   got {"name":"main","resources":{},"volumeMounts":[{"name":"data","mountPath":"/b"},{"name":"data","mountPath":"/a"}]}
wanted {"volumeMounts": [{"name": "data", "mountPath": "/a"}, {"name": "data", "mountPath": "/b"}]}
   got map: map[name:data] does not contain declared merge key: mountPath
wanted {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}
   not sent
wanted {"args": ["-v", "x"]}
   got {"name":"main","args":["-v","x","-v"],"resources":{}}
E
diff -u expected seen
