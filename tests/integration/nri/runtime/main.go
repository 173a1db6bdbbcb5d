// A container runtime reduced to its NRI side: the adaptation library of containerd and CRI-O
// behind a line protocol.
//
// Each line on stdin is a command, a JSON object with "id" and "do"; each line on stdout is
// either its reply, with the same id and "error" if it failed, or a notice without id of
// something a plugin did on its own. Commands run at the same time, like CRI calls. One lock is
// held around every hook and every update, as containerd does.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

type command struct {
	ID         int               `json:"id"`
	Do         string            `json:"do"`
	Socket     string            `json:"socket"`
	TimeoutMs  int               `json:"timeout_ms"`
	Event      string            `json:"event"`
	Pod        json.RawMessage   `json:"pod"`
	Container  json.RawMessage   `json:"container"`
	Resources  json.RawMessage   `json:"resources"`
	Pods       []json.RawMessage `json:"pods"`
	Containers []json.RawMessage `json:"containers"`
	Failing    []string          `json:"failing"`
}

type runtime struct {
	lock       sync.Mutex // containerd's
	nri        *adaptation.Adaptation
	pods       []*api.PodSandbox
	containers []*api.Container
	failing    map[string]bool

	output sync.Mutex
}

func main() {
	r := &runtime{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, "not a command:", err)
			os.Exit(2)
		}
		go r.run(c)
	}
}

func (r *runtime) run(c command) {
	reply, err := r.do(context.Background(), c)
	if reply == nil {
		reply = map[string]any{}
	}
	reply["id"] = c.ID
	if err != nil {
		reply["error"] = err.Error()
	}
	r.write(reply)
}

func (r *runtime) do(ctx context.Context, c command) (map[string]any, error) {
	switch c.Do {
	case "start":
		return nil, r.start(c)
	case "stop":
		r.nri.Stop()
		return nil, nil
	case "know":
		return nil, r.know(c)
	}

	pod, container := &api.PodSandbox{}, &api.Container{}
	if err := errors.Join(parse(c.Pod, pod), parse(c.Container, container)); err != nil {
		return nil, err
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	switch c.Do {
	case "create":
		reply, err := r.nri.CreateContainer(ctx, &api.CreateContainerRequest{Pod: pod, Container: container})
		if err != nil {
			return nil, err
		}
		return map[string]any{"adjust": render(reply.Adjust), "update": renderAll(reply.Update)}, nil
	case "update":
		resources := &api.LinuxResources{}
		if err := parse(c.Resources, resources); err != nil {
			return nil, err
		}
		reply, err := r.nri.UpdateContainer(ctx, &api.UpdateContainerRequest{Pod: pod, Container: container, LinuxResources: resources})
		if err != nil {
			return nil, err
		}
		return map[string]any{"update": renderAll(reply.Update)}, nil
	case "stop_container":
		reply, err := r.nri.StopContainer(ctx, &api.StopContainerRequest{Pod: pod, Container: container})
		if err != nil {
			return nil, err
		}
		return map[string]any{"update": renderAll(reply.Update)}, nil
	case "event":
		return nil, tell(ctx, r.nri, c.Event, pod, container)
	}
	return nil, fmt.Errorf("unknown command %q", c.Do)
}

func (r *runtime) start(c command) error {
	adaptation.SetPluginRequestTimeout(time.Duration(c.TimeoutMs) * time.Millisecond)
	nri, err := adaptation.New("podnuma-test", "v1.0.0", r.synchronize, r.update,
		adaptation.WithSocketPath(c.Socket), adaptation.WithPluginPath(c.Socket+".plugins"))
	if err != nil {
		return err
	}
	r.nri = nri
	return nri.Start()
}

func (r *runtime) know(c command) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.pods, r.containers, r.failing = nil, nil, map[string]bool{}
	for _, raw := range c.Pods {
		pod := &api.PodSandbox{}
		if err := parse(raw, pod); err != nil {
			return err
		}
		r.pods = append(r.pods, pod)
	}
	for _, raw := range c.Containers {
		container := &api.Container{}
		if err := parse(raw, container); err != nil {
			return err
		}
		r.containers = append(r.containers, container)
	}
	for _, id := range c.Failing {
		r.failing[id] = true
	}
	return nil
}

func (r *runtime) synchronize(ctx context.Context, plugin adaptation.SyncCB) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	updates, err := plugin(ctx, r.pods, r.containers)
	if err != nil {
		r.write(map[string]any{"notice": "synchronize", "error": err.Error()})
		return err
	}
	r.write(map[string]any{"notice": "synchronize", "update": renderAll(updates)})
	return nil
}

func (r *runtime) update(_ context.Context, updates []*api.ContainerUpdate) ([]*api.ContainerUpdate, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	var failed []*api.ContainerUpdate
	for _, update := range updates {
		if r.failing[update.ContainerId] {
			failed = append(failed, update)
		}
	}
	r.write(map[string]any{"notice": "update", "update": renderAll(updates)})
	return failed, nil
}

func (r *runtime) write(line map[string]any) {
	r.output.Lock()
	defer r.output.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		os.Exit(1)
	}
}

func parse(raw json.RawMessage, into proto.Message) error {
	if len(raw) == 0 {
		return nil
	}
	// Tests send one form of an object to every version of NRI.
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(raw, into)
}

func render(message proto.Message) json.RawMessage {
	text, err := protojson.Marshal(message)
	if err != nil {
		panic(err)
	}
	return text
}

func renderAll(updates []*api.ContainerUpdate) []json.RawMessage {
	rendered := []json.RawMessage{}
	for _, update := range updates {
		if update != nil { // the adaptation answers an untouched update with nil
			rendered = append(rendered, render(update))
		}
	}
	return rendered
}
