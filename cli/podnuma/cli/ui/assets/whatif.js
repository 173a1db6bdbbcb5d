// A manifest, and where its pods would go: the engine of `podnuma plan`. Nothing is created.
import { h, chip, nodeLink, failures, plural } from "./dom.js";

const LONGEST = 64 * 1024;

export async function whatIfPage(read) {
  const text = h("textarea", { id: "manifest", rows: "16", spellcheck: "false", placeholder: "Paste a Pod, Deployment, Job …" });
  const answer = h("div", { "aria-live": "polite" });
  const button = h("button", { class: "primary", type: "submit" }, "Where would it go?");

  async function ask(event) {
    event.preventDefault();
    if (!text.value.trim()) { text.focus(); return; }
    if (text.value.length > LONGEST) {
      answer.replaceChildren(failures({ errors: ["This is longer than 64 KiB: use `kubectl podnuma plan -f FILE`."] }));
      return;
    }
    button.disabled = true;
    const found = await read(`data/plan?${new URLSearchParams({ manifest: text.value })}`);
    button.disabled = false;
    answer.replaceChildren(...(found.errors ? [failures(found)] : cards(found)));
  }

  const form = h("form", { class: "card", onsubmit: ask },
    h("label", { for: "manifest" }, "Manifest"), text, h("p", {}, button, h("span", { class: "quiet" }, " Nothing is created or changed. Ctrl-Enter asks.")));
  text.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask(event); });
  return { element: h("div", {}, h("div", { class: "title" }, h("h1", {}, "What if")), form, answer), title: "What if" };
}

function cards(found) {
  const notes = found.remarks.length ? [h("section", { class: "card note" }, found.remarks.map((line) => h("p", {}, line)))] : [];
  return [...found.plans.map(card), ...notes];
}

function card(plan) {
  const summary = plan.allocation?.summary;
  return h("section", { class: plan.result === "refused" ? "card bad" : "card" },
    h("h2", {}, `${plan.namespace}/${plan.name} `, chip(plan.result)),
    plan.node ? h("p", {}, "On ", h("a", { href: nodeLink(plan.node) }, plan.node),
      summary ? h("span", { class: "mono" }, `: CPUs ${summary.cpus}, NUMA ${summary.numa}, exclusive ${summary.exclusive}, shared ${summary.shared}`) : null) : null,
    plan.refusals.length ? h("ul", {}, plan.refusals.map((one) => h("li", {}, h("strong", {}, `${one.node}: ${one.reason}. `), one.explanation || one.message))) : null,
    Object.keys(plan.notConsidered).length ? h("details", {}, h("summary", {}, `${plural(Object.keys(plan.notConsidered).length, "node")} it may not go to`),
      h("ul", {}, Object.entries(plan.notConsidered).map(([node, why]) => h("li", {}, `${node}: ${why}`)))) : null,
    plan.note ? h("p", { class: "quiet" }, plan.note) : null);
}
