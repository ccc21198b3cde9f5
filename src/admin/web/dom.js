// Builds what the page shows. A text is only ever set as text: nothing that comes from the relay is read as markup.

/** An element with attributes, listeners (`onclick`) and children; children that are null or false are left out. */
export function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) {
      element.addEventListener(key.slice(2), value);
    } else if (key === "value") {
      element.value = value;
    } else if (value === true) {
      element.setAttribute(key, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(key, value);
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** An element of SVG with attributes and children. */
export function s(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  Object.entries(attributes ?? {}).forEach(([key, value]) => element.setAttribute(key, value));
  element.append(...children);
  return element;
}

const SPANS = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3_600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** A time in seconds since 1970, as people say it; the exact one is its title. */
export function when(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) {
    return h("span", {}, String(seconds));
  }
  const ago = Date.now() / 1000 - seconds;
  const span = SPANS.find(([, length]) => Math.abs(ago) >= length);
  const said = span ? relative.format(-Math.round(ago / span[1]), span[0]) : "just now";
  return h("time", { datetime: date.toISOString(), title: date.toLocaleString() }, said);
}

/** A sentence of the relay as one: it begins with a capital and ends with a stop. */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?)]$/.test(whole) ? whole : `${whole}.`;
}

/** Looks now and every so many seconds while the page is seen; `note` says what went wrong. Returns what ends it. */
export function again(seconds, note, look) {
  let timer = null;
  let isOpen = true;

  async function turn() {
    try {
      if (!document.hidden) {
        await look();
        if (note.textContent !== "") {
          note.textContent = "";
        }
      }
    } catch (error) {
      note.textContent = sentence(error.message);
    }
    if (isOpen) {
      timer = setTimeout(turn, seconds * 1000);
    }
  }

  turn();
  return () => {
    isOpen = false;
    clearTimeout(timer);
  };
}

/** Number and word, in the plural where there is not one. */
export function count(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

let fields = 0;

/** A labelled field; `input` is an input, textarea or select, `hint` a sentence on it. */
export function field(label, input, hint) {
  fields += 1;
  input.id = `field-${fields}`;
  const about = hint && h("small", { id: `hint-${fields}` }, hint);
  if (about) {
    input.setAttribute("aria-describedby", about.id);
  }
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, about);
}

/**
 * A form that says beside its button what went wrong. `submit` does the work and returns what to say when it went well;
 * what was typed stays until then.
 */
export function form({ attributes, button, submit }, ...children) {
  const wrong = h("p", { class: "wrong", role: "alert" });
  const send = h("button", { type: "submit" }, button);
  const element = h("form", { ...attributes, novalidate: true }, children, h("div", { class: "row" }, send, wrong));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    wrong.textContent = "";
    send.setAttribute("aria-disabled", "true");
    try {
      if (element.dataset.busy !== "yes") {
        element.dataset.busy = "yes";
        await submit(element);
      }
    } catch (error) {
      wrong.textContent = error.message;
    } finally {
      element.dataset.busy = "";
      send.removeAttribute("aria-disabled");
    }
  });
  return element;
}
