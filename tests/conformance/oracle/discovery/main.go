// Command discovery prints, as JSON, what the kubelet makes of the hardware in a recorded tree.
//
//	discovery TREE
//
// TREE stands for /: it has sys/ and proc/. The process confines itself to it (chroot, as root or in a user
// namespace), so that cAdvisor's own reader of sysfs and the kubelet's own topology code run unchanged.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/kubelet/cm/cpumanager/topology"
)

type cpu struct {
	ID     int `json:"id"`
	Core   int `json:"core"`
	Socket int `json:"socket"`
	Node   int `json:"node"`
	Uncore int `json:"uncore"`
}

type node struct {
	ID        int               `json:"id"`
	Memory    uint64            `json:"memory"`
	Distances []uint64          `json:"distances"`
	HugePages map[uint64]uint64 `json:"hugePages,omitempty"`
}

// machine is what the kubelet's managers take of cAdvisor's answer, under its names.
type machine struct {
	NumCores   int `json:"num_cores"`
	NumSockets int `json:"num_sockets"`
	Topology   any `json:"topology"`
}

type answer struct {
	Error   string  `json:"error,omitempty"`
	CPUs    []cpu   `json:"cpus"`
	Nodes   []node  `json:"nodes"`
	Machine machine `json:"machine"`
}

func discover() (answer, error) {
	info, err := read()
	if err != nil {
		return answer{}, err
	}
	found, err := topology.Discover(logr.Discard(), info)
	if err != nil {
		return answer{}, err
	}
	out := answer{Machine: machine{info.NumCores, info.NumSockets, info.Topology}}
	for _, id := range found.CPUDetails.CPUs().List() {
		one := found.CPUDetails[id]
		out.CPUs = append(out.CPUs, cpu{id, one.CoreID, one.SocketID, one.NUMANodeID, one.UncoreCacheID})
	}
	for _, one := range info.Topology {
		pages := map[uint64]uint64{}
		for _, size := range one.HugePages {
			if size.NumPages > 0 {
				pages[size.PageSize] = size.NumPages
			}
		}
		out.Nodes = append(out.Nodes, node{one.Id, one.Memory, one.Distances, pages})
	}
	return out, nil
}

func main() {
	klog.SetLogger(logr.Discard())
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: discovery TREE")
		os.Exit(2)
	}
	if err := syscall.Chroot(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "chroot:", err)
		os.Exit(2)
	}
	if err := os.Chdir("/"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	out, err := discover()
	if err != nil {
		out = answer{Error: err.Error()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		os.Exit(1)
	}
}
