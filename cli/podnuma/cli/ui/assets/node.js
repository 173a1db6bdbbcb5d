// One node: its map, and its pods beside it. Hover or focus a pod and all that it holds lights up.
import { h, chip, podLink, plural } from "./dom.js";
import { drawMap } from "./map.js";

export async function nodePage(read, name) {
  const element = h("div", {});
  let reading = false;
  let again = false;

  function light(pod) {
    const map = element.querySelector(".sockets");
    if (!map) return;
    map.classList.toggle("lit", Boolean(pod));
    for (const one of element.querySelectorAll("[data-pod]")) one.classList.toggle("on", pod !== "" && one.dataset.pod === pod);
  }

  async function draw() {
    if (reading) { again = true; return; }
    reading = true;
    do {
      again = false;
      render(await read(`data/nodes/${encodeURIComponent(name)}`));
    } while (again);
    reading = false;
  }

  function render(node) {
    const focus = document.activeElement?.dataset?.cpu || document.activeElement?.dataset?.row;
    const head = h("div", { class: "title" },
      h("h1", {}, h("a", { href: "#/", class: "up" }, "Nodes"), " / ", name),
      node.ready ? chip(node.ready) : null,
      node.name ? h("p", { class: "sum" }, `${node.profile || "no profile"} · ${node.policy} · ${plural(node.podCount, "pod")}`) : null);
    if (node.errors) {
      element.replaceChildren(head, h("section", { class: "card bad" }, node.errors.map((line) => h("p", {}, line))));
      return;
    }
    const notes = [node.message, ...(node.problems || [])].filter(Boolean);
    element.replaceChildren(...[head,
      notes.length ? h("section", { class: "card note" }, notes.map((line) => h("p", {}, line))) : null,
      node.numaNodes ? h("div", { class: "split" },
        drawMap(node, { pick: (pod) => { location.hash = podLink(pod); }, hover: light }),
        podList(node, light)) : null,
      node.offline ? h("p", { class: "quiet" }, `Offline CPUs: ${node.offline}`) : null].filter(Boolean));
    if (focus) element.querySelector(`[data-cpu="${CSS.escape(focus)}"],[data-row="${CSS.escape(focus)}"]`)?.focus();
  }

  await draw();
  return { element, title: name, changed: (names) => { if (names.includes(name)) draw(); } };
}

function podList({ pods, hues }, light) {
  const body = pods.length ? pods.map((pod) => h("li", {},
    h("a", {
      class: "podrow", href: podLink(pod.pod), "data-pod": pod.pod, "data-row": pod.pod,
      onmouseenter: () => light(pod.pod), onmouseleave: () => light(""), onfocus: () => light(pod.pod), onblur: () => light(""),
    },
      h("i", { class: `key strong-${hues[pod.pod]}` }),
      h("span", { class: "podname" }, h("span", { class: "quiet" }, pod.pod.split("/")[0]), pod.pod.split("/")[1]),
      chip(pod.phase),
      h("span", { class: "quiet mono" }, pod.admitted
        ? [`CPUs ${pod.cpus}`, pod.numa === "-" ? "" : `NUMA ${pod.numa}`].filter(Boolean).join(" · ") : pod.reason)))) : [h("li", { class: "empty" }, "No pod is decided here.")];
  return h("aside", { class: "card pods", "aria-label": "Pods" }, h("h2", {}, `Pods (${pods.length})`), h("ul", { class: "podlist" }, body));
}
