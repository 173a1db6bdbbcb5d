// One pod: what was decided, what the kernel has, why; for a refused pod what would make it fit.
import { h, chip, table, nodeLink, failures } from "./dom.js";
import { drawMap } from "./map.js";

export async function podPage(read, namespace, name) {
  const element = h("div", {});
  const pod = `${namespace}/${name}`;
  let node = "";

  async function draw() {
    const answer = await read(`data/pods/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`);
    node = answer.stored?.spec?.nodeName || answer.explanation?.node || "";
    const map = node ? await read(`data/nodes/${encodeURIComponent(node)}`) : null;
    element.replaceChildren(...parts(pod, node, answer, map).filter(Boolean));
  }

  await draw();
  return { element, title: pod, changed: (names) => { if (names.includes(node) || !node) draw(); } };
}

function parts(pod, node, answer, map) {
  const { stored, explanation } = answer;
  const spec = stored?.spec;
  const decision = spec?.decision || {};
  const refused = spec ? !decision.admitted && decision.reason !== "DevicesPending" : explanation?.now?.admitted === false;
  const mine = map?.numaNodes && !refused && Object.values(map.holders).some((one) => one.pod === pod);
  return [
    h("div", { class: "title" },
      h("h1", {}, node ? [h("a", { href: nodeLink(node), class: "up" }, node), " / "] : null, pod),
      stored ? chip(stored.status?.phase || "Pending") : null,
      explanation ? h("p", { class: "sum" }, `${explanation.qosClass}${explanation.managed ? "" : " · not managed here"}`) : null),
    answer.errors && !stored ? failures(answer) : null,
    refused ? refusal(decision, explanation) : null,
    spec && !refused ? budget(spec, explanation) : null,
    spec && !refused ? devices(spec.containers || []) : null,
    mine ? h("section", { "aria-label": "Where it is" }, drawMap(map, { pick: () => {}, hover: () => {}, only: pod })) : null,
    stored?.status?.containers?.length ? kernel(stored.status.containers, answer.kernel || {}) : null,
    explanation?.steps?.length ? steps(explanation) : null,
    refused && explanation?.free?.length ? free(explanation.free) : null,
    notes(answer),
  ];
}

function refusal(decision, explanation) {
  const now = explanation?.now;
  const changes = explanation?.changes || [];
  const together = explanation?.changesTogether || [];
  const line = (one) => `${one.where === "pod" ? "the budget" : `container ${one.where}`}: ${one.needed} ${one.resource} instead of ${one.now}`;
  return h("section", { class: "card bad" },
    h("h2", {}, decision.reason || now?.reason || "Refused"),
    h("p", {}, decision.explanation || now?.explanation || decision.message || ""),
    decision.message ? h("p", { class: "quiet" }, `The kubelet's words: ${decision.message}`) : null,
    now?.admitted ? h("p", {}, "As the node is now, it would be admitted.") : null,
    changes.length ? [h("h3", {}, changes.length > 1 ? "Any one of these would make it fit" : "This would make it fit"),
      h("ul", {}, changes.map((one) => h("li", {}, line(one))))] : null,
    together.length ? [h("h3", {}, "Together these would make it fit"), h("ul", {}, together.map((one) => h("li", {}, line(one))))] : null);
}

function budget(spec, explanation) {
  const summary = spec.summary || {};
  const fact = (word, value) => h("div", { class: "fact" }, h("dt", {}, word), h("dd", { class: "mono" }, value || "-"));
  const rows = (spec.containers || []).map((one) => [
    one.name, one.kind, words(one.assignment?.cpu), h("span", { class: "mono" }, one.cpus || "node pool"),
    h("span", { class: "mono" }, one.memoryNodes || "any"), one.cpuQuota < 0 ? "no limit" : `${one.cpuQuota / one.cpuPeriod} CPU`,
  ]);
  return h("section", { class: "card" },
    h("dl", { class: "facts-row" }, fact("CPUs", summary.cpus), fact("NUMA nodes", summary.numa),
      fact("Exclusive", summary.exclusive), fact("Shared", summary.shared === "node" ? "node pool" : summary.shared)),
    table("Slices of the budget", ["Container", "Kind", "CPUs are", "CPUs", "Memory nodes", "Limit"], rows),
    explanation?.onlyShares ? h("p", { class: "quiet" }, "Nothing here is exclusive.") : null);
}

function devices(containers) {
  const rows = containers.flatMap((container) => (container.devices || []).map((one) => {
    const near = sameNode(container.cpus ? container.memoryNodes : "", one.numaNodes);
    return [one.name, one.resource, container.name, h("span", { class: "mono" }, one.numaNodes || "not known"), near];
  }));
  return rows.length ? h("section", { class: "card" }, table("Devices", ["Device", "Resource", "Container", "NUMA nodes", "Memory of the container"], rows)) : null;
}

/** Whether memory and a device share a NUMA node, in words; lists as the kernel writes them. */
function sameNode(memory, device) {
  if (!memory || !device) return "-";
  const ids = (list) => list.split(",").flatMap((part) => {
    const [first, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  return ids(memory).some((one) => ids(device).includes(one)) ? "on the same NUMA node" : h("span", { class: "badword" }, "on another NUMA node");
}

const HINTS_SHOWN = 12; // as many as `explain` shows

const words = (text) => (text || "").replaceAll("_", " ");

function kernel(containers, { unknown, audit }) {
  if (unknown) return h("section", { class: "card" }, h("h2", {}, "What the kernel has"), h("p", {}, unknown));
  const rows = containers.map((one) => [
    one.name, h("span", { class: "mono" }, one.effective?.cpus || "-"), h("span", { class: "mono" }, one.effective?.mems || "-"),
    h("span", { class: "mono" }, one.effective?.cpuMax || "-"), chip(audit ? "Audit" : one.verdict),
    one.pinnedAfterMillis === undefined ? "" : `${one.pinnedAfterMillis} ms`, one.message || "",
  ]);
  return h("section", { class: "card" },
    table("What the kernel has", ["Container", "CPUs", "Mems", "cpu.max", "Verdict", "After", "Remark"], rows));
}

function hint(one) {
  return h("span", { class: one.preferred ? "hint preferred" : "hint" }, one.numaNodes || "any", one.preferred ? " preferred" : "");
}

function hints(all) {
  const more = all.length - HINTS_SHOWN;
  return [...all.slice(0, HINTS_SHOWN).map(hint), more > 0 ? h("span", { class: "quiet" }, ` ${more} more`) : null];
}

function steps(explanation) {
  return h("section", { class: "card" },
    h("h2", {}, explanation.now?.admitted ? "How it would be decided now" : "Why it would be refused now"),
    h("ol", { class: "steps" }, explanation.steps.map((step) => h("li", {},
      h("h3", {}, step.subject || "pod"),
      h("ul", {}, step.sides.map((side) => h("li", {},
        h("strong", {}, side.resource), ` wants ${side.wanted}, free ${side.free}: `,
        side.hints === null ? "any NUMA node" : side.hints.length ? hints(side.hints) : h("span", { class: "badword" }, "no NUMA node can give that")))),
      h("p", {}, "Merged: ", step.merged ? hint(step.merged) : h("span", { class: "badword" }, "no combination is admitted"))))));
}

function free(rows) {
  return h("section", { class: "card" }, table("Free on the node", ["NUMA node", "Resource", "Free", "Can be granted"],
    rows.map((row) => [String(row.numaNode), row.resource, row.free, row.grantable])));
}

function notes(answer) {
  const lines = [...(answer.stored ? answer.errors || [] : []), ...(answer.remarks || []), ...(answer.explanation?.notes || [])];
  return lines.length ? h("section", { class: "card note" }, lines.map((line) => h("p", {}, line))) : null;
}
