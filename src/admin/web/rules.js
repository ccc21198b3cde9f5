// Rules: what the community asks for, as sentences; its texts; kinds decided by hand; and what would happen to an event.

import { base, call, read } from "./api.js";
import { field, form, h, sentence } from "./dom.js";
import { line, listSection } from "./lists.js";

const EXAMPLE = '{"kind": 1, "content": "hello", "tags": []}';

/** A call that failed, said as a sentence. */
const said = (work) => async (...given) => {
  try {
    return await work(...given);
  } catch (error) {
    throw new Error(sentence(error.message));
  }
};

/** Rules that are seen at first. */
const SEEN = 10;

/** Rules of any relay, which interest people less than what their community chose. */
const isCommon = (id) => /^(limits|nip\d+|admin)\./.test(id);

/** The rules as sentences, the community's own first; two that say the same are one. */
function sentences() {
  const place = h("div", {}, h("p", { class: "hint" }, "Looking…"));
  const load = async () => {
    const together = new Map();
    const all = await read("?rules", "application/json");
    for (const rule of [...all.filter(({ id }) => !isCommon(id)), ...all.filter(({ id }) => isCommon(id))]) {
      const trial = rule.mode === "shadow" ? " On trial: it refuses nothing yet." : "";
      const text = rule.sentence + trial;
      together.set(text, [...(together.get(text) ?? []), rule.id]);
    }
    const items = [...together].map(([text, ids]) => h("li", {}, text, " ", ids.map((id) => h("code", {}, id))));
    const list = (some) => h("ul", { class: "rules" }, some);
    const more = items.length - SEEN;
    place.replaceChildren(list(items.slice(0, SEEN)));
    if (more > 0) {
      place.append(h("details", {}, h("summary", {}, `${more} more, as on most relays`), list(items.slice(SEEN))));
    }
  };
  load().catch(() => place.replaceChildren(h("p", { class: "wrong" }, "The rules cannot be read. Reload the page.")));
  return h("section", { class: "box", "aria-labelledby": "sentences" },
    h("h2", { id: "sentences" }, "What this community asks for"),
    h("p", { class: "hint" }, "Whoever is refused is told the rule's short name. Rules come from the settings."), place);
}

/** Name, description and icon. */
function about({ may, say }) {
  const texts = [
    { method: "changerelayname", key: "name", label: "Name", input: line({ maxlength: "200", spellcheck: "true" }) },
    { method: "changerelaydescription", key: "description", label: "Description",
      input: h("textarea", { rows: "3", maxlength: "1000" }) },
    { method: "changerelayicon", key: "icon", label: "Address of an icon", input: line({ maxlength: "200" }) },
  ].filter((text) => may(text.method));
  if (texts.length === 0) {
    return null;
  }
  const fill = async () => {
    const document = await read("", "application/nostr+json");
    texts.forEach((text) => {
      text.was = document[text.key] ?? "";
      text.input.value = text.was;
    });
  };
  fill().catch(() => {});
  const submit = said(async () => {
    const changed = texts.filter((text) => text.input.value.trim() !== text.was);
    for (const text of changed) {
      await call(text.method, text.input.value);
    }
    await fill();
    say(changed.length === 0 ? "Nothing was changed." : "Saved.");
  });
  return h("section", { class: "box", "aria-labelledby": "about" }, h("h2", { id: "about" }, "What it says of itself"),
    form({ button: "Save", submit }, texts.map((text) => field(text.label, text.input)),
      h("p", { class: "hint" }, "An empty field gives way to what relay.toml says.")));
}

/** Kinds that were decided about by hand. */
function kinds({ may, say }) {
  const kind = line({ required: true, inputmode: "numeric" });
  const which = h("select", {}, h("option", { value: "disallowkind" }, "Rule out"),
    h("option", { value: "allowkind" }, "Allow"));
  const numbers = async (method) => (may(method) ? call(method) : []);
  return listSection({
    id: "kinds", title: "Kinds decided by hand", say,
    about: "They count before the settings kinds.allowed and kinds.denied. What is taken back is left to these.",
    empty: "None.",
    read: async () => [
      ...(await numbers("listallowedkinds")).map((number) => ({ number, isAllowed: true })),
      ...(await numbers("listdisallowedkinds")).map((number) => ({ number, isAllowed: false })),
    ],
    row: (entry) => h("span", {}, h("strong", {}, `Kind ${entry.number}`),
      entry.isAllowed ? " is allowed" : " is ruled out"),
    remove: (entry) => {
      const method = entry.isAllowed ? "disallowkind" : "allowkind";
      return [
        may(method) && { words: entry.isAllowed ? "Rule out" : "Allow", method, params: [entry.number],
          said: `Kind ${entry.number} is ${entry.isAllowed ? "ruled out" : "allowed"}.` },
        may("resetkind") && { words: "Take back", method: "resetkind", params: [entry.number],
          said: `Kind ${entry.number} is left to the settings.` },
      ];
    },
    add: may("allowkind") && may("disallowkind") && {
      button: "Decide",
      fields: [field("Kind", kind, "A number, such as 30402 for a listing."), field("Decision", which)],
      send: async () => {
        await call(which.value, Number(kind.value.trim() || NaN));
        return "Decided.";
      },
    },
  });
}

const VERDICTS = { passed: "passes", refused: "refuses", "would refuse": "would refuse (on trial)", hidden: "hides it",
  "would hide": "would hide it (on trial)", "not asked": "not asked" };

/** What each rule said of an event, those that object first. */
function trail(explained) {
  const order = (step) => (["refused", "hidden"].includes(step.verdict) ? 0 : step.verdict === "passed" ? 2 : 1);
  const steps = [...explained.steps].sort((one, other) => order(one) - order(other));
  const answer = explained.accepted
    ? explained.duplicate ? "It is stored already." : "It would be accepted."
    : `It would be refused: ${explained.refusal}`;
  return [
    h("p", { class: explained.accepted ? "verdict yes" : "verdict no", tabindex: "-1" }, answer),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "What each rule says" },
      h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Rule"), h("th", { scope: "col" }, "Says"),
          h("th", { scope: "col" }, "Settings"))),
        h("tbody", {}, steps.map((step) => h("tr", { class: order(step) === 0 ? "objects" : "" },
          h("th", { scope: "row" }, h("code", {}, step.rule)),
          h("td", {}, VERDICTS[step.verdict] ?? step.verdict, step.said && h("div", { class: "hint" }, step.said)),
          h("td", {}, step.settings.map((key) => h("code", {}, key)))))))),
  ];
}

function explain() {
  const event = h("textarea", { rows: "6", spellcheck: "false", class: "code" });
  const answer = h("div", { "aria-live": "polite" });
  const submit = said(async () => {
    let given;
    answer.replaceChildren();
    try {
      given = JSON.parse(event.value);
    } catch {
      throw new Error(`This is no JSON. Write an event or a draft, for example ${EXAMPLE}`);
    }
    answer.replaceChildren(...trail(await call("explain", given)));
  });
  return h("section", { class: "box", "aria-labelledby": "explain" },
    h("h2", { id: "explain" }, "Would this event be accepted?"),
    form({ button: "Ask the rules", submit },
      field("Event or draft, as JSON", event, `A draft needs a kind alone: ${EXAMPLE}. Nothing is stored.`)),
    answer);
}

function reload({ say }) {
  const submit = said(async () => say(sentence(await call("reloadsettings"))));
  return h("section", { class: "box", "aria-labelledby": "reload" }, h("h2", { id: "reload" }, "The settings file"),
    form({ button: "Read the settings file again", submit },
      h("p", { class: "hint" }, "Who is connected stays. A file with a mistake changes nothing.")));
}

/** Shows the rules and what the caller may change of them. */
export function show(context) {
  const isRoot = base === "/";
  return {
    element: h("div", { class: "columns" },
      h("div", {}, sentences(), explain()),
      h("div", {}, about(context), kinds(context), isRoot && context.may("reloadsettings") && reload(context))),
  };
}
