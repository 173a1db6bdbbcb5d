#!/usr/bin/env bash
# Package: Go module `tags.cncf.io/container-device-interface` v1.1.2, package cdi (how containerd and CRI-O resolve
#   CDI devices).
# Question: two files in /etc/cdi define the same device, which makes a conflict. A third one in /var/run/cdi, the
#   directory of the higher priority, defines it as well. Which definition is used?
# One would guess: the third: the highest priority wins, as it does over one file in /etc/cdi; how many lie below it
#   is of no matter. Writing it there is thus what mends the conflict.
# Seen: none, the device stays unresolvable and containers that ask for it do not start. A driver that writes its
#   own file for each device cannot help a node on which two old ones (two versions of a generator, say) lie in
#   /etc/cdi.
# Why: the directories are read from the lowest priority up. A conflict is noted by the device's name when it is
#   met; the better definition takes the device's place, but the note stays, and at the end all noted devices are
#   deleted.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require (
	github.com/opencontainers/runtime-spec v1.3.0
	tags.cncf.io/container-device-interface v1.1.2
)
E
cat > main.go <<'E'
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	oci "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// ask writes one CDI file for each "folder/name" and injects the one device they all define.
func ask(files ...string) {
	root, err := os.MkdirTemp("", "cdi")
	check(err)
	defer os.RemoveAll(root)
	static, dynamic := filepath.Join(root, "etc"), filepath.Join(root, "run")
	for _, folder := range []string{static, dynamic} {
		check(os.Mkdir(folder, 0o755))
	}
	for _, file := range files {
		text := fmt.Sprintf(`{"cdiVersion": "0.6.0", "kind": "example.dev/gpu", "devices": [
			{"name": "gpu0", "containerEdits": {"env": ["FROM=%s"]}}]}`, file)
		check(os.WriteFile(filepath.Join(root, file+".json"), []byte(text), 0o644))
	}
	cache, err := cdi.NewCache(cdi.WithAutoRefresh(false), cdi.WithSpecDirs(static, dynamic))
	check(err)
	spec := &oci.Spec{Process: &oci.Process{}}
	answer := "unresolvable"
	if unresolved, err := cache.InjectDevices(spec, "example.dev/gpu=gpu0"); err == nil {
		answer = strings.Join(spec.Process.Env, " ")
	} else if len(unresolved) == 0 {
		panic(err)
	}
	fmt.Printf("%s: %s\n", strings.Join(files, ", "), answer)
}

func main() {
	ask("etc/a")
	ask("etc/a", "run/c")
	ask("etc/a", "etc/b")
	ask("etc/a", "etc/b", "run/c")
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
etc/a: FROM=etc/a
etc/a, run/c: FROM=run/c
etc/a, etc/b: unresolvable
etc/a, etc/b, run/c: unresolvable
E
diff -u expected seen
