// Settings: what owners and admins change without relay.toml. Every value says where it comes from, and what was changed
// here can be taken back. What a value may be, only the relay knows: what it says is shown where it was tried.

import { call } from "./api.js";
import { count, h, sentence, when } from "./dom.js";
import { npub, person } from "./keys.js";

/** Where a value comes from, as people say it. */
const FROM = {
  page: "changed here", file: "relay.toml", preset: "preset", root: "the root's relay.toml", default: "default",
};

const grouped = (number) => number.toLocaleString("en");

/** A whole number as people write it, or the text itself, of which the relay says what it must be. */
function number(text) {
  const bare = text.trim().replace(/(?<=\d)[ _,](?=\d)/g, "");
  return /^\d{1,15}$/.test(bare) ? Number(bare) : text.trim();
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter((line) => line !== "");

/** Pairs, one a line: what stands before the last colon, and what is behind it. */
function pairs(text, read) {
  return Object.fromEntries(lines(text).map((line) => {
    const at = Math.max(line.lastIndexOf(":"), line.lastIndexOf("="));
    return at < 0 ? [line, ""] : [line.slice(0, at).trim().replace(/\s*,\s*/g, ","), read(line.slice(at + 1))];
  }));
}

const shownPairs = (value) => Object.entries(value).map(([key, inner]) => `${key}: ${inner}`).join("\n");

/** How each form is written: `shown` makes text of a value, `read` a value of text. */
const FORMS = {
  switch: { shown: (value) => (value ? "yes" : "no"), read: (text) => text === "yes" },
  choice: { shown: String, read: (text) => text },
  number: { shown: String, read: number },
  kinds: {
    how: "Kinds and ranges, with commas between",
    shown: (value) => value.join(", "),
    read: (text) => text.split(/[\s,]+/).filter((one) => one !== "").map((one) => (/^\d+$/.test(one) ? Number(one) : one)),
  },
  keys: { how: "One key a line, as npub1… or 64 hexadecimal digits", shown: (value) => value.map(npub).join("\n"), read: lines },
  texts: { how: "One a line", shown: (value) => value.join("\n"), read: lines },
  "numbers by kind": { how: "One entry a line, kinds before a colon, as 1,7: 100", shown: shownPairs,
    read: (text) => pairs(text, number) },
  prices: { how: "One currency a line, as EUR: 0.50", shown: shownPairs, read: (text) => pairs(text, (one) => one.trim()) },
};

/** Lines that a field has at least and at most. */
const [ROWS_MIN, ROWS_MAX] = [2, 8];

/** A field for a setting, with its value. */
function inputOf(setting) {
  const text = FORMS[setting.form].shown(setting.value);
  const options = (all) => all.map(([value, words]) => h("option", { value }, words));
  if (setting.form === "switch") {
    return h("select", { value: text }, options([["yes", "Yes"], ["no", "No"]]));
  }
  if (setting.form === "choice") {
    return h("select", {}, options(setting.choices));
  }
  const attributes = { autocomplete: "off", spellcheck: "false" };
  if (setting.form === "number") {
    return h("input", { type: "text", inputmode: "numeric", ...attributes });
  }
  const rows = Math.min(ROWS_MAX, Math.max(ROWS_MIN, text.split("\n").length));
  return h("textarea", { rows: String(rows), ...attributes });
}

/** What a value of relay.toml is called in a sentence. */
function words(setting, value) {
  if (setting.form === "choice") {
    return setting.choices.find(([word]) => word === value)?.[1] ?? String(value);
  }
  const text = setting.form === "number" ? grouped(value) : FORMS[setting.form].shown(value);
  const whole = text === "" ? "nothing" : text.replace(/\n/g, "; ");
  return whole.length > 80 ? `${whole.slice(0, 80)}…` : whole;
}

let ids = 0;

/** One setting: its name, its field, what may stand there and where its value comes from. */
class Row {
  constructor(setting, takeBack) {
    this.setting = setting;
    this.was = FORMS[setting.form].shown(setting.value);
    ids += 1;
    this.input = inputOf(setting);
    this.input.value = this.was;
    this.input.id = `setting-${ids}`;
    this.input.setAttribute("aria-describedby", `about-${ids}`);
    this.input.addEventListener("input", () => this.input.removeAttribute("aria-invalid"));
    const isHere = setting.from === "page";
    const { unit, min, max } = setting;
    const range = max === undefined ? null : `${grouped(min)} to ${grouped(max)} ${unit}`;
    const how = FORMS[setting.form].how;
    this.element = h("div", { class: "setting" },
      h("div", {},
        h("label", { for: this.input.id }, setting.title),
        h("div", { class: "hint", id: `about-${ids}` }, h("code", {}, setting.key), " ",
          h("span", { class: isHere ? "tag here" : "tag" }, FROM[setting.from]),
          [range, how && (unit ? `${how}; ${unit}` : how)].filter(Boolean).map((text) => h("div", {}, text)),
          isHere && h("div", {}, "By ", person(setting.by), " ", when(setting.at)))),
      h("div", {}, this.input, isHere && this.back(takeBack)));
  }

  /** What relay.toml says instead, and the way back to it. */
  back(takeBack) {
    const { value, from } = this.setting.in_file;
    const says = from === "default" ? "The default is" : `The value from ${FROM[from]} is`;
    return h("div", { class: "row back" },
      h("span", { class: "hint" }, `${says} ${words(this.setting, value)}.`),
      h("button", { type: "button", class: "quiet", "aria-label": `Take back: ${this.setting.title}`,
        onclick: () => takeBack(this) }, "Take back"));
  }

  get changed() {
    return this.input.value.trim() !== this.was.trim();
  }

  get value() {
    return FORMS[this.setting.form].read(this.input.value);
  }
}

/** The settings of the community that may be changed here. */
class Settings {
  constructor({ say }) {
    this.say = say;
    this.groups = h("div", { class: "groups" }, h("p", { class: "hint" }, "Looking…"));
    this.aside = h("div", {});
    this.search = h("input", { type: "search", id: "find", autocomplete: "off", spellcheck: "false",
      oninput: () => this.filter() });
    this.only = h("input", { type: "checkbox", id: "only", onchange: () => this.filter() });
    this.none = h("p", { class: "hint", role: "status" });
    this.element = h("div", {},
      h("p", { class: "lead hint" }, "What is changed here holds at once, for this community, and counts before relay.toml, "
        + "which stays as it is. Take it back, and relay.toml counts again."),
      this.aside,
      h("div", { class: "box finder" },
        h("div", { class: "field" }, h("label", { for: "find" }, "Find a setting"), this.search),
        h("div", { class: "check" }, this.only, h("label", { for: "only" }, "Only what was changed here")),
        this.none),
      this.groups);
    this.open = new Set();
    this.load();
  }

  async load() {
    try {
      const { settings, left_aside: aside } = await call("listsettings");
      const groups = grouping(settings);
      this.rows = [];
      this.groups.replaceChildren(...[...groups].map(([title, some], at) => this.group(title, some, at)));
      this.aside.replaceChildren(...aside.map((one) => this.warning(one)));
      this.filter();
    } catch (error) {
      this.groups.replaceChildren(h("p", { class: "wrong", role: "alert" }, sentence(error.message)));
    }
  }

  /** What was changed here and does not go with relay.toml any more. */
  warning({ keys, why }) {
    const wrong = h("p", { class: "wrong", role: "alert" });
    const forget = async () => {
      try {
        await call("changesettings", Object.fromEntries(keys.map((key) => [key, null])));
        await this.load();
        this.say("Taken back.");
      } catch (error) {
        wrong.textContent = sentence(error.message);
      }
    };
    return h("div", { class: "box verdict no" },
      h("p", {}, `Changed here, but does not go with relay.toml: ${keys.join(", ")}.`),
      h("p", {}, sentence(why)),
      h("div", { class: "row" }, h("button", { type: "button", class: "quiet", onclick: forget }, "Take back"), wrong));
  }

  /** A heading with its settings and the button that saves them together. */
  group(title, settings, at) {
    const wrong = h("p", { class: "wrong", role: "alert" });
    const takeBack = (row) => this.change({ [row.setting.key]: null }, [row], wrong, `${row.setting.title}: taken back.`);
    const rows = settings.map((setting) => new Row(setting, takeBack));
    this.rows.push(...rows);
    const here = settings.filter((setting) => setting.from === "page").length;
    const save = h("button", { type: "submit" }, "Save");
    const form = h("form", { novalidate: true, "aria-label": title }, rows.map((row) => row.element),
      h("div", { class: "row save" }, save, wrong));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const changed = rows.filter((row) => row.changed);
      const values = Object.fromEntries(changed.map((row) => [row.setting.key, row.value]));
      if (changed.length === 0) {
        this.say("Nothing was changed.");
        return;
      }
      this.change(values, rows, wrong, `Saved: ${changed.map((row) => row.setting.title).join(", ")}.`);
    });
    const isOpen = this.open.size === 0 ? at === 0 : this.open.has(title);
    const details = h("details", { class: "box group", open: isOpen, "data-group": title },
      h("summary", {}, h("h2", {}, title), here > 0 && h("span", { class: "tag here" }, `${here} changed here`)), form);
    details.addEventListener("toggle", () => (details.open ? this.open.add(title) : this.open.delete(title)));
    return details;
  }

  /** Changes settings. What was typed elsewhere stays, and so does what is refused. */
  async change(values, rows, wrong, said) {
    if (this.busy) {
      return;
    }
    this.busy = true;
    wrong.textContent = "";
    const keys = Object.keys(values);
    try {
      await call("changesettings", values);
      const typed = this.rows.filter((row) => row.changed && !keys.includes(row.setting.key));
      await this.load();
      typed.forEach(({ setting, input }) => {
        this.rowOf(setting.key).input.value = input.value;
      });
      this.rowOf(keys[0])?.input.focus();
      this.say(said);
    } catch (error) {
      wrong.textContent = sentence(error.message);
      const blamed = rows.find((row) => error.message.startsWith(`${row.setting.key}: `));
      blamed?.input.setAttribute("aria-invalid", "true");
      blamed?.input.focus();
    } finally {
      this.busy = false;
    }
  }

  rowOf(key) {
    return this.rows.find((row) => row.setting.key === key);
  }

  /** Shows what is looked for, and opens the groups that have some of it. */
  filter() {
    const wanted = this.search.value.trim().toLowerCase();
    const isAny = wanted === "" && !this.only.checked;
    let shown = 0;
    for (const { element, setting } of this.rows ?? []) {
      const fits = `${setting.title} ${setting.key} ${setting.group}`.toLowerCase().includes(wanted)
        && (!this.only.checked || setting.from === "page");
      element.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    for (const group of this.groups.querySelectorAll("details")) {
      const has = group.querySelector(".setting:not([hidden])") !== null;
      group.hidden = !has;
      if (!isAny && has) {
        group.open = true;
      }
    }
    this.none.textContent = isAny ? "" : shown === 0 ? "There is no such setting here." : `${count(shown, "setting")}.`;
  }
}

/** Entries by their group, in their order. */
function grouping(settings) {
  const groups = new Map();
  settings.forEach((one) => groups.set(one.group, [...(groups.get(one.group) ?? []), one]));
  return groups;
}

/** Shows the settings. */
export function show(context) {
  return { element: new Settings(context).element };
}
