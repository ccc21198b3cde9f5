// A list that is kept by calls: what stands in it, a form that adds, a button that takes away.

import { call } from "./api.js";
import { form, h, sentence } from "./dom.js";

/** Entries that are shown before somebody asks for all. */
const SHOWN_MAX = 50;

/**
 * A section of a page with a list.
 *
 * `read` fetches the entries; `row` makes what one shows; `remove` says for one how it is taken away: `words`, `method`,
 * `params`, or null where the caller may not, or a list of such ways. `add` is a form: `fields`, `button`, and `send`, which makes the call and
 * returns what to say. `may` and `say` are the page's.
 */
export function listSection({ title, about, read, row, remove, add, empty, say, id }) {
  const rows = h("ul", { class: "entries" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const heading = h("h2", { id, tabindex: "-1" }, title);
  let all = false;

  function line(entry) {
    const ways = [remove?.(entry)].flat().filter(Boolean);
    const buttons = ways.map((away) => h("button", {
      type: "button",
      class: "quiet",
      onclick: async () => {
        wrong.textContent = "";
        try {
          await call(away.method, ...away.params);
          await load();
          heading.focus();
          say(away.said);
        } catch (error) {
          wrong.textContent = sentence(error.message);
        }
      },
    }, away.words));
    return h("li", {}, h("div", { class: "entry" }, row(entry, load)),
      buttons.length > 0 && h("div", { class: "row" }, buttons));
  }

  async function load() {
    try {
      const entries = await read();
      const shown = all ? entries : entries.slice(0, SHOWN_MAX);
      rows.replaceChildren(...shown.map(line));
      if (entries.length === 0) {
        rows.append(h("li", { class: "hint" }, empty));
      }
      if (shown.length < entries.length) {
        rows.append(h("li", {}, h("button", {
          type: "button",
          class: "quiet",
          onclick: () => {
            all = true;
            load();
          },
        }, `Show all ${entries.length}`)));
      }
    } catch (error) {
      rows.replaceChildren();
      wrong.textContent = sentence(error.message);
    }
  }

  const adding = add && form({
    attributes: { class: "adding" },
    button: add.button,
    submit: async (element) => {
      let words;
      try {
        words = await add.send();
      } catch (error) {
        throw new Error(sentence(error.message.replace(/^params: /, "needed: ")));
      }
      element.reset();
      await load();
      say(words);
    },
  }, ...add.fields);

  load();
  return h("section", { "aria-labelledby": id, class: "box" },
    heading, about && h("p", { class: "hint" }, about), rows, wrong, adding);
}

/** A line of text to type in. */
export function line(attributes) {
  return h("input", { type: "text", autocomplete: "off", spellcheck: "false", ...attributes });
}
