// Mirrors: streams of events from and to other relays ([[mirror]]), how each stands and what it has carried.

import { call } from "./api.js";
import { again, count, h, sentence, when } from "./dom.js";

/** Seconds between two looks. */
const SECONDS = 5;

/** How a mirror stands, in words. */
const PHASES = {
  waiting: "waits to connect again",
  connecting: "connects",
  catching_up: "carries over what was missed",
  live: "up to date",
};

/** What became of events one way. */
function flow(way, { events, taken, copies, refused, waiting }) {
  const parts = [`${way}: ${count(events, "event")}`, `${taken} taken`, `${copies} ${copies === 1 ? "copy" : "copies"}`];
  if (waiting > 0) {
    parts.push(`${waiting} waiting`);
  }
  Object.entries(refused).forEach(([why, number]) => parts.push(`${number} refused as ${why}`));
  return h("span", { class: "hint" }, parts.join(", "));
}

function row(mirror) {
  return h("li", {}, h("div", { class: "entry" },
    h("strong", {}, mirror.url), " ", h("span", { class: "tag" }, mirror.direction), " ",
    h("span", {}, PHASES[mirror.phase] ?? mirror.phase), " ",
    h("span", { class: "ruling" },
      mirror.connected_since ? ["connected since ", when(mirror.connected_since), "; "] : "",
      mirror.last_event_at ? ["last event ", when(mirror.last_event_at)] : "no event yet"),
    mirror.direction !== "up" && [h("br"), flow("down", mirror.down)],
    ["up", "both"].includes(mirror.direction) && [h("br"), flow("up", mirror.up)],
    mirror.strikes > 0 && [h("br"),
      h("span", { class: "hint" }, `${count(mirror.strikes, "message")} of its side made no sense or were forged`)],
    mirror.error && [h("br"), h("span", { class: "wrong" }, sentence(mirror.error))]));
}

/** Shows all mirrors of this community, and looks again for as long as the view is open. */
export function show() {
  const rows = h("ul", { class: "entries" });
  const note = h("p", { class: "wrong", role: "status" });

  const close = again(SECONDS, note, async () => {
    const mirrors = await call("listmirrors");
    rows.replaceChildren(...mirrors.map(row));
    if (mirrors.length === 0) {
      rows.append(h("li", { class: "hint" }, "There are none any more."));
    }
  });
  return {
    element: h("section", { "aria-labelledby": "mirrors", class: "box" },
      h("h2", { id: "mirrors", tabindex: "-1" }, "Mirrors"),
      h("p", { class: "hint" }, `Relays that events come from and go to, as relay.toml has them. Looked at every ${SECONDS} seconds.`),
      rows, note),
    close,
  };
}
