//go:build !k8s137

package main

import (
	cadvisorapi "github.com/google/cadvisor/info/v1"
	"github.com/google/cadvisor/utils/sysfs"
	"github.com/google/cadvisor/utils/sysinfo"
)

func read() (*cadvisorapi.MachineInfo, error) {
	nodes, cores, err := sysinfo.GetNodesInfo(sysfs.NewRealSysFs())
	if err != nil {
		return nil, err
	}
	sockets := map[int]bool{}
	for _, node := range nodes {
		for _, core := range node.Cores {
			sockets[core.SocketID] = true
		}
	}
	return &cadvisorapi.MachineInfo{NumCores: cores, NumSockets: len(sockets), Topology: nodes}, nil
}
