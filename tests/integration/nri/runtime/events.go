//go:build !nri08

package main

import (
	"context"
	"fmt"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
)

// tell sends an event in the form of NRI 0.12: a call of its own each.
func tell(ctx context.Context, nri *adaptation.Adaptation, event string, pod *api.PodSandbox, container *api.Container) error {
	switch event {
	case "RunPodSandbox":
		return nri.RunPodSandbox(ctx, &api.RunPodSandboxRequest{Pod: pod})
	case "UpdatePodSandbox":
		_, err := nri.UpdatePodSandbox(ctx, &api.UpdatePodSandboxRequest{Pod: pod})
		return err
	case "PostUpdatePodSandbox":
		return nri.PostUpdatePodSandbox(ctx, &api.PostUpdatePodSandboxRequest{Pod: pod})
	case "StopPodSandbox":
		return nri.StopPodSandbox(ctx, &api.StopPodSandboxRequest{Pod: pod})
	case "RemovePodSandbox":
		return nri.RemovePodSandbox(ctx, &api.RemovePodSandboxRequest{Pod: pod})
	case "PostCreateContainer":
		return nri.PostCreateContainer(ctx, &api.PostCreateContainerRequest{Pod: pod, Container: container})
	case "StartContainer":
		return nri.StartContainer(ctx, &api.StartContainerRequest{Pod: pod, Container: container})
	case "PostStartContainer":
		return nri.PostStartContainer(ctx, &api.PostStartContainerRequest{Pod: pod, Container: container})
	case "PostUpdateContainer":
		return nri.PostUpdateContainer(ctx, &api.PostUpdateContainerRequest{Pod: pod, Container: container})
	case "RemoveContainer":
		return nri.RemoveContainer(ctx, &api.RemoveContainerRequest{Pod: pod, Container: container})
	}
	return fmt.Errorf("unknown event %q", event)
}
