// The record: who did what, newest first, as sentences, and all of it as a file.

import { call } from "./api.js";
import { h, sentence, when } from "./dom.js";
import { person } from "./keys.js";

const PAGE = 50;

/** Entries of one call when all are fetched. */
const PAGE_MAX = 1_000;

/** What a method did, before and after whom. */
const WORDS = {
  banpubkey: ["banned"], unbanpubkey: ["lifted the ban of"], allowpubkey: ["welcomed"],
  unallowpubkey: ["took", "off those welcome"], banevent: ["removed the event"], unbanevent: ["put back the event"],
  allowevent: ["approved the event"], unallowevent: ["took back the approval of the event"],
  allowkind: ["allowed kind"], disallowkind: ["ruled out kind"], blockip: ["blocked"], unblockip: ["unblocked"],
  createrole: ["made the role"], editrole: ["changed the role"], deleterole: ["deleted the role"],
  changerelayname: ["changed the name to"], changerelaydescription: ["changed the description to"],
  changerelayicon: ["changed the icon to"], setname: ["gave a name"], removename: ["removed the name"],
  reloadsettings: ["read the settings file again:"], assignrole: ["gave a role to"], unassignrole: ["took a role from"],
  assignmethod: ["let"], unassignmethod: ["lets no more"], changesettings: ["changed"],
  resetkind: ["left to the settings kind"], dismissreports: ["put aside the reports about"],
  undismissreports: ["took up again the reports about"], createclaim: ["made the invite code"],
  deleteclaim: ["took away the invite code"], creategroup: ["made the group"], deletegroup: ["ended the group"],
  putgroupuser: ["put into a group"], removegroupuser: ["took out of a group"],
  creategroupinvite: ["made an invite code for the group"], deletegroupinvite: ["took away an invite code of the group"],
};

/** Characters of a value that are shown. */
const VALUE_CHARS = 200;

function valueOf(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return h("q", { dir: "auto" }, text.length > VALUE_CHARS ? `${text.slice(0, VALUE_CHARS)}…` : text);
}

/** Settings, each with what it was and what it is. */
function changed(settings) {
  return Object.entries(settings).map(([key, { from, to }], at) => [
    at > 0 && "; ", h("code", {}, key), " from ", valueOf(from), " to ",
    to === null ? "what relay.toml says" : valueOf(to),
  ]);
}

/** Whom or what an entry is about. */
function object(about) {
  if (typeof about === "string") {
    return about;
  }
  const parts = [];
  const put = (...some) => parts.push(...some, " ");
  if (about.name) put(h("strong", {}, about.name), " →");
  if (about.pubkey) put(person(about.pubkey));
  if (about.id) put(h("code", { title: about.id }, `${about.id.slice(0, 12)}…`));
  if (about.kind !== undefined) put(h("strong", {}, about.kind));
  if (about.ip) put(h("code", {}, about.ip));
  if (about.role) put(h("code", {}, about.role));
  if (about.method) put("call ", h("code", {}, about.method));
  if (about.text !== undefined) put(about.text === "" ? "what relay.toml says" : h("q", { dir: "auto" }, about.text));
  if (about.settings) put(changed(about.settings));
  if (about.reason) put(h("q", { dir: "auto" }, about.reason));
  return parts;
}

function line(entry) {
  const [before, after] = WORDS[entry.method] ?? [entry.method];
  const [about, name] = [entry.about ?? {}, entry.method === "removename"];
  const what = name ? h("strong", {}, about.name) : object(about);
  return h("li", {}, h("span", { class: "at" }, when(entry.at)), h("span", {},
    person(entry.by), ` ${before} `, what, after ?? ""));
}

/** Everything, as one JSON object a line. */
async function all(tell) {
  const lines = [];
  for (let before = null; ; ) {
    const entries = await call("listauditlog", PAGE_MAX, before);
    lines.push(...entries.map((entry) => `${JSON.stringify(entry)}\n`));
    if (entries.length < PAGE_MAX) {
      return lines;
    }
    before = entries.at(-1).number;
    tell(`${lines.length} entries so far…`);
  }
}

/** Shows the newest entries, more on demand. */
export function show({ say }) {
  const list = h("ol", { class: "record", reversed: true });
  const wrong = h("p", { class: "wrong", role: "alert" });
  let before = null;
  let isBusy = false;

  async function load(moveFocus) {
    wrong.textContent = "";
    try {
      const entries = await call("listauditlog", PAGE, before);
      const lines = entries.map(line);
      list.append(...lines);
      before = entries.at(-1)?.number ?? before;
      more.hidden = entries.length < PAGE || before === 0;
      if (list.children.length === 0) {
        list.append(h("li", { class: "hint" }, "Nothing was done yet."));
      }
      if (moveFocus && lines[0]) {
        lines[0].tabIndex = -1;
        lines[0].focus();
      }
    } catch (error) {
      wrong.textContent = sentence(error.message);
    }
  }

  async function download() {
    if (isBusy) {
      return;
    }
    isBusy = true;
    wrong.textContent = "";
    try {
      const lines = await all(say);
      const url = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
      h("a", { href: url, download: `record-${new Date().toISOString().slice(0, 10)}.jsonl` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      say(`${lines.length} entries are downloaded.`);
    } catch (error) {
      wrong.textContent = sentence(error.message);
    } finally {
      isBusy = false;
    }
  }

  const more = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => load(true) }, "More");
  load(false);
  return {
    element: h("div", {},
      h("div", { class: "row bar" },
        h("p", { class: "hint" }, "All that changed something, newest first. The last 100,000 entries are kept."),
        h("button", { type: "button", class: "quiet", onclick: download }, "Download (JSON Lines)")),
      list, more, wrong),
  };
}
