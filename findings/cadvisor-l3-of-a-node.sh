#!/usr/bin/env bash
# Packages: Go modules `github.com/google/cadvisor/lib` v0.60.5 and `k8s.io/kubernetes` v1.37.2 (the
#   kubelet's CPU topology).
# Question: socket 7 has 16 threads and two L3 caches, numbers 4 and 5, of 8 threads each. Which caches does
#   the kubelet's policy option prefer-align-cpus-by-uncorecache see with one NUMA node, with a node per L3
#   (a common firmware setting), and with a node per L3 and one thread switched off?
# One would guess: 4 and 5 each time, for the caches are the same.
# Seen: 4 and 5; then one cache, "7"; then 5 and 7. With a node per L3 the cache is filed under the node, no
#   core has an uncore cache, and the kubelet takes the socket's number in its stead: all CPUs of the socket
#   are of one cache, and there is nothing to align. One thread off in node 1 brings that node's cache back,
#   there alone.
# Why: cAdvisor's addCacheInfo calls an L3 the node's if it is as wide as the node's cores times the threads
#   of the core at hand (so one odd core, or a hybrid CPU, changes the sum), else the core's own. The
#   kubelet's getUncoreCacheID reads the core's alone and else falls back to the socket: numbers of caches
#   and of sockets are then mixed in one set.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require (
	github.com/google/cadvisor/lib v0.60.5
	k8s.io/kubernetes v1.37.2
)
E
for module in api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider \
    cluster-bootstrap code-generator component-base component-helpers controller-manager cri-api \
    cri-client cri-streaming csi-translation-lib dynamic-resource-allocation endpointslice \
    externaljwt kms kube-aggregator kube-controller-manager kube-proxy kube-scheduler kubectl \
    kubelet metrics mount-utils pod-security-admission sample-apiserver streaming; do
    echo "replace k8s.io/$module => k8s.io/$module v0.37.2" >> go.mod
done
cat > main.go <<'E'
package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/cadvisor/lib/model"
	"github.com/google/cadvisor/lib/utils/sysfs"
	"github.com/google/cadvisor/lib/utils/sysfs/fakesysfs"
	"github.com/google/cadvisor/lib/utils/sysinfo"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/kubelet/cm/cpumanager/topology"
)

const firstCache = 4 // the number of the first L3

// Socket 7 of 16 threads, threads 2n and 2n+1 on core n, an L3 for every 8 threads.
type machine struct {
	*fakesysfs.FakeSysFs
	nodeWidth int
	offline   []int
}

func (m *machine) GetNodesPaths() ([]string, error) {
	paths := []string{}
	for node := 0; node < 16/m.nodeWidth; node++ {
		paths = append(paths, fmt.Sprintf("/sys/devices/system/node/node%d", node))
	}
	return paths, nil
}

func (m *machine) GetCPUsPaths(nodePath string) ([]string, error) {
	node, err := strconv.Atoi(nodePath[strings.LastIndex(nodePath, "node")+4:])
	paths := []string{}
	for cpu := node * m.nodeWidth; cpu < (node+1)*m.nodeWidth; cpu++ {
		paths = append(paths, fmt.Sprintf("%s/cpu%d", nodePath, cpu))
	}
	return paths, err
}

func cpuOf(path string) int {
	cpu, err := strconv.Atoi(path[strings.LastIndex(path, "/cpu")+4:])
	if err != nil {
		panic(err)
	}
	return cpu
}

func (m *machine) GetCoreID(path string) (string, error) { return strconv.Itoa(cpuOf(path) / 2), nil }

func (m *machine) GetCPUPhysicalPackageID(string) (string, error) { return "7", nil }

func (m *machine) IsCPUOnline(path string) bool { return !slices.Contains(m.offline, cpuOf(path)) }

func (m *machine) GetMemInfo(string) (string, error) { return "Node 0 MemTotal: 1024 kB", nil }

func (m *machine) GetDistances(string) (string, error) { return "10", nil }

func (m *machine) GetHugePagesInfo(string) ([]os.FileInfo, error) { return nil, nil }

func (m *machine) GetCaches(int) ([]os.FileInfo, error) {
	return []os.FileInfo{&fakesysfs.FileInfo{EntryName: "index3"}}, nil
}

// The kernel's shared_cpu_map leaves offline CPUs out.
func (m *machine) GetCacheInfo(cpu int, _ string) (sysfs.CacheInfo, error) {
	width := 8
	for _, offline := range m.offline {
		if offline/8 == cpu/8 {
			width--
		}
	}
	return sysfs.CacheInfo{Id: firstCache + cpu/8, Size: 1 << 25, Type: "Unified", Level: 3, Cpus: width}, nil
}

func ask(what string, nodeWidth int, offline ...int) {
	nodes, cpus, err := sysinfo.GetNodesInfo(&machine{&fakesysfs.FakeSysFs{}, nodeWidth, offline})
	if err != nil {
		panic(err)
	}
	fmt.Println(what)
	for _, node := range nodes {
		fmt.Printf(" node %d: %d cache(s) of the node, %d of its first core\n",
			node.Id, len(node.Caches), len(node.Cores[0].UncoreCaches))
	}
	found, err := topology.Discover(klog.Background(), &model.MachineInfo{NumCores: cpus, NumSockets: 1, Topology: nodes})
	if err != nil {
		panic(err)
	}
	fmt.Printf(" the kubelet's caches: %v\n", found.CPUDetails.UncoreCaches().List())
}

func main() {
	ask("one node", 16)
	ask("a node per L3", 8)
	ask("a node per L3, CPU 15 off", 8, 15)
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
one node
 node 0: 0 cache(s) of the node, 1 of its first core
 the kubelet's caches: [4 5]
a node per L3
 node 0: 1 cache(s) of the node, 0 of its first core
 node 1: 1 cache(s) of the node, 0 of its first core
 the kubelet's caches: [7]
a node per L3, CPU 15 off
 node 0: 1 cache(s) of the node, 0 of its first core
 node 1: 0 cache(s) of the node, 1 of its first core
 the kubelet's caches: [5 7]
E
diff -u expected seen
