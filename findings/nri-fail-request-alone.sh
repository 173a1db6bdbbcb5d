#!/usr/bin/env bash
# Package: Go module `github.com/containerd/nri` v0.12.5, pkg/adaptation (the runtime's side) and pkg/stub (a
#   plugin), the first releases with a failure policy (0.12.4).
# Question: a plugin registers with FailRequest and is too late once, in CreateContainer. What becomes of that
#   container, and of the next one, while the plugin is as slow as before?
# One would guess: both are refused. FailRequest is there so that no container starts without the plugin.
# Seen: the first is refused, the second is created without the plugin being asked: it was unregistered for
#   being late, and with it went its policy. Only FailRequest together with KeepConnected refuses the second,
#   too; KeepConnected alone lets both pass and asks each time.
# Why: the two fields are independent, and the policy belongs to the registration. A late answer closes the
#   plugin's connection unless KeepConnected is set, and for whoever is not registered there is no policy.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require github.com/containerd/nri v0.12.5
E
cat > main.go <<'E'
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
)

const timeout = 300 * time.Millisecond

type late struct {
	asked      atomic.Int32
	registered chan struct{}
}

func (p *late) Synchronize(context.Context, []*api.PodSandbox, []*api.Container) ([]*api.ContainerUpdate, error) {
	close(p.registered)
	return nil, nil
}

func (p *late) CreateContainer(context.Context, *api.PodSandbox, *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	p.asked.Add(1)
	time.Sleep(2 * timeout)
	return nil, nil, nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func ask(fail, keep bool) {
	folder, err := os.MkdirTemp("", "nri")
	must(err)
	defer os.RemoveAll(folder)
	socket := filepath.Join(folder, "nri.sock")
	ctx := context.Background()
	nothing := func(context.Context, []*adaptation.ContainerUpdate) ([]*adaptation.ContainerUpdate, error) {
		return nil, nil
	}
	runtime, err := adaptation.New("ask", "v1", func(ctx context.Context, synchronize adaptation.SyncCB) error {
		_, err := synchronize(ctx, nil, nil)
		return err
	}, nothing, adaptation.WithSocketPath(socket), adaptation.WithPluginPath(folder), adaptation.WithPluginConfigPath(folder))
	must(err)
	must(runtime.Start())
	defer runtime.Stop()

	plugin := &late{registered: make(chan struct{})}
	policy := &api.FailurePolicy{FailRequest: fail, KeepConnected: keep}
	client, err := stub.New(plugin, stub.WithPluginName("late"), stub.WithPluginIdx("10"),
		stub.WithSocketPath(socket), stub.WithFailurePolicy(policy), stub.WithOnClose(func() {}))
	must(err)
	must(client.Start(ctx))
	defer client.Stop()
	<-plugin.registered
	runtime.BlockPluginSync().Unblock() // until the registration is complete

	said := fmt.Sprintf("fail=%v keep=%v:", fail, keep)
	for range 2 {
		_, err := runtime.CreateContainer(ctx, &adaptation.CreateContainerRequest{
			Pod: &api.PodSandbox{Id: "pod"}, Container: &api.Container{Id: "container"},
		})
		if err != nil {
			said += " refused"
		} else {
			said += " created"
		}
		time.Sleep(3 * timeout) // the plugin has ended what it was asked
	}
	fmt.Printf("%s, asked %d times\n", said, plugin.asked.Load())
}

func main() {
	adaptation.SetPluginRequestTimeout(timeout)
	for _, fail := range []bool{false, true} {
		for _, keep := range []bool{false, true} {
			ask(fail, keep)
		}
	}
}
E
go build -o ask -tags nri_no_wasm .
./ask 2> log | tee seen
diff seen - <<'E'
fail=false keep=false: created created, asked 1 times
fail=false keep=true: created created, asked 2 times
fail=true keep=false: refused created, asked 1 times
fail=true keep=true: refused refused, asked 2 times
E
echo "as described"
