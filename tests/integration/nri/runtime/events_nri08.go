//go:build nri08

package main

import (
	"context"
	"fmt"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
)

// tell sends an event in the form of NRI 0.8 (containerd 2.0 and 2.1): one call with a number.
func tell(ctx context.Context, nri *adaptation.Adaptation, event string, pod *api.PodSandbox, container *api.Container) error {
	podEvents := map[string]func(context.Context, *api.StateChangeEvent) error{
		"RunPodSandbox":    nri.RunPodSandbox,
		"StopPodSandbox":   nri.StopPodSandbox,
		"RemovePodSandbox": nri.RemovePodSandbox,
	}
	containerEvents := map[string]func(context.Context, *api.StateChangeEvent) error{
		"PostCreateContainer": nri.PostCreateContainer,
		"StartContainer":      nri.StartContainer,
		"PostStartContainer":  nri.PostStartContainer,
		"PostUpdateContainer": nri.PostUpdateContainer,
		"RemoveContainer":     nri.RemoveContainer,
	}
	if send, ok := podEvents[event]; ok {
		return send(ctx, &api.StateChangeEvent{Pod: pod})
	}
	if send, ok := containerEvents[event]; ok {
		return send(ctx, &api.StateChangeEvent{Pod: pod, Container: container})
	}
	return fmt.Errorf("unknown event %q", event)
}
