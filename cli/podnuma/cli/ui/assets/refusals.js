// Pods that were refused or wait, by owner: those that exist, and those whose refusal is kept as an event.
import { h, chip, ago, podLink, nodeLink, plural } from "./dom.js";

export async function refusalsPage(read) {
  const element = h("div", {});
  let timer = 0;

  async function draw() {
    timer = 0;
    const answer = await read("data/refusals");
    const owners = new Map();
    for (const one of answer.refusals || []) {
      if (!owners.has(one.owner)) owners.set(one.owner, []);
      owners.get(one.owner).push(one);
    }
    const lines = [...(answer.errors || []), ...(answer.problems || [])];
    element.replaceChildren(...[
      h("div", { class: "title" }, h("h1", {}, "Refused and waiting"),
        h("p", { class: "sum", role: "status" }, plural(owners.size, "owner"))),
      lines.length ? h("section", { class: "card note" }, lines.map((line) => h("p", {}, line))) : null,
      owners.size ? null : h("p", { class: "card empty" }, "Nothing is refused, and nothing waits."),
      ...[...owners].map(([owner, list]) => group(owner, list)),
    ].filter(Boolean));
  }

  await draw();
  // Everything is read again: once a second at most, however much changes.
  return { element, title: "Refusals", changed: () => { timer ||= setTimeout(draw, 700); } };
}

function group(owner, list) {
  return h("section", { class: "card", "aria-label": owner },
    h("h2", {}, owner),
    h("ul", { class: "refusals" }, list.map((one) => h("li", {},
      h("div", { class: "line" }, chip(one.phase), h("strong", {}, one.reason),
        h("span", { class: "quiet" }, one.exists ? h("a", { href: podLink(one.pod) }, "why") : one.pod.split("/")[1], " on ",
          h("a", { href: nodeLink(one.node) }, one.node), one.count > 1 ? `, ${one.count} times` : "", `, ${ago(one.time)}`)),
      one.cause ? h("p", {}, one.cause) : null))));
}
