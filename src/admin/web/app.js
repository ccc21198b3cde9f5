// The page's frame: who is logged in, which view is shown, keys that work everywhere, what is said aloud.

import { call, logout, me, whenLoggedOut } from "./api.js";
import { h, sentence } from "./dom.js";
import * as groups from "./groups.js";
import { askForNames, person } from "./keys.js";
import { askToLogIn } from "./login.js";
import * as mirrors from "./mirrors.js";
import * as now from "./now.js";
import * as people from "./people.js";
import * as queue from "./queue.js";
import * as record from "./record.js";
import * as rules from "./rules.js";
import * as settings from "./settings.js";

/** Views, and a method that each cannot do without. */
const VIEWS = [
  { id: "queue", title: "Queue", needs: "listmoderationqueue", show: queue.show, keys: queue.KEYS },
  { id: "people", title: "People", needs: "liststaff", show: people.show },
  { id: "groups", title: "Groups", needs: "listgroups", show: groups.show },
  { id: "mirrors", title: "Mirrors", needs: "listmirrors", show: mirrors.show },
  { id: "rules", title: "Rules", needs: "explain", show: rules.show },
  { id: "settings", title: "Settings", needs: "listsettings", show: settings.show },
  { id: "now", title: "Now", needs: "stats", show: now.show },
  { id: "record", title: "Record", needs: "listauditlog", show: record.show },
];

const name = document.querySelector('meta[name="plaza-name"]').content;
const main = document.getElementById("main");
const nav = document.getElementById("views");
const who = document.getElementById("who");
const said = document.getElementById("said");
const help = document.getElementById("keys");

let methods = new Set();
let shown = null;
let asking = null;
let saying = null;

/** How long what was said stays in sight. */
const SAID_MILLISECONDS = 12_000;

/** Where this browser keeps that its user wants no keys of one letter, as who dictates to a computer may. */
const NO_KEYS = "plaza admin without keys";

/** Whether keys of one letter do something. */
function hasKeys() {
  try {
    return localStorage.getItem(NO_KEYS) === null;
  } catch {
    return true;
  }
}

function setKeys(on) {
  try {
    if (on) {
      localStorage.removeItem(NO_KEYS);
    } else {
      localStorage.setItem(NO_KEYS, "yes");
    }
  } catch {
    say("This browser keeps no settings, so keys stay as they are.");
  }
}

/** Says something at the foot of the page, and aloud to who listens. */
function say(text) {
  said.textContent = "";
  clearTimeout(saying);
  // The same words twice are two messages: a change is what is read out.
  saying = setTimeout(() => {
    said.textContent = text;
    saying = setTimeout(() => {
      said.textContent = "";
    }, SAID_MILLISECONDS);
  }, 50);
}

const context = { may: (method) => methods.has(method), me, say };

function offered() {
  return VIEWS.filter((view) => methods.has(view.needs));
}

function close() {
  shown?.close?.();
  shown = null;
}

function show(moveFocus) {
  const views = offered();
  const view = views.find((one) => `#${one.id}` === location.hash) ?? views[0];
  close();
  said.textContent = "";
  const heading = h("h1", { tabindex: "-1" }, view ? view.title : "Nothing to do here");
  document.title = `${view ? view.title : "Manage"} – ${name}`;
  nav.replaceChildren(
    h("ul", {}, views.map((one) =>
      h("li", {}, h("a", { href: `#${one.id}`, "aria-current": one === view ? "page" : null }, one.title)))),
  );
  if (view) {
    shown = { ...view.show(context), view };
    main.replaceChildren(heading, shown.element);
  } else {
    const own = [...methods].filter((method) => !["supportedmethods", "login", "logout"].includes(method));
    main.replaceChildren(heading, h("p", {}, `You may call ${own.join(", ")}, for which this page has no view. Use `,
      h("code", {}, "plaza admin call"), "."));
  }
  if (moveFocus) {
    heading.focus();
    scrollTo(0, 0);
  }
}

/** Learns what the caller may do, and shows it. */
async function enter(moveFocus) {
  const before = me()?.pubkey;
  methods = new Set(await call("supportedmethods"));
  // A session that ended on the way may have been somebody else's.
  if (before !== me().pubkey) {
    methods = new Set(await call("supportedmethods"));
  }
  askForNames(methods.has("listprofiles"));
  document.getElementById("me").replaceChildren(person(me().pubkey), ` ${me().rank === "nobody" ? "" : me().rank}`);
  nav.hidden = false;
  who.hidden = false;
  main.hidden = false;
  show(moveFocus);
}

/** A session is over: logging in comes before the view, which stays as it is with all that was typed. */
whenLoggedOut(() => {
  asking ??= (async () => {
    const last = who.dataset.key;
    const focused = document.activeElement;
    const wasOpen = !main.hidden;
    [main, nav, who].forEach((part) => {
      part.hidden = true;
    });
    await askToLogIn(wasOpen ? "Your session has ended. What you typed is still here once you log in again." : "");
    asking = null;
    const isSame = wasOpen && last === me().pubkey;
    who.dataset.key = me().pubkey;
    if (isSame) {
      [main, nav, who].forEach((part) => {
        part.hidden = false;
      });
      focused?.focus?.();
    } else if (wasOpen) {
      await enter(true);
    }
  })();
  return asking;
});

async function leave(why) {
  close();
  main.replaceChildren();
  [main, nav, who].forEach((part) => {
    part.hidden = true;
  });
  await begin(why, true);
}

async function begin(why, moveFocus) {
  for (let reason = why; ; ) {
    if (!me()) {
      await askToLogIn(reason);
    }
    who.dataset.key = me().pubkey;
    try {
      await enter(moveFocus);
      return;
    } catch (error) {
      await logout();
      reason = sentence(error.message);
    }
  }
}

const everywhere = () => [[`1 … ${offered().length}`, "Go to a view"], ["?", "Show or hide these keys"]];

function toggleHelp() {
  if (help.open) {
    help.close();
    return;
  }
  const rows = [...(shown?.view.keys ?? []), ...everywhere()].map(([key, what]) =>
    h("tr", {}, h("th", { scope: "row" }, key.split(" ").map((one) => (one === "…" ? " … " : h("kbd", {}, one)))),
      h("td", {}, what)));
  const box = h("input", { type: "checkbox", id: "keys-on", onchange: () => setKeys(box.checked) });
  box.checked = hasKeys();
  help.replaceChildren(
    h("h2", { id: "keys-title" }, "Keys"),
    h("table", {}, h("tbody", {}, rows)),
    h("div", { class: "check" }, box, h("label", { for: "keys-on" }, "These keys do something")),
    h("button", { type: "button", onclick: () => help.close() }, "Close"),
  );
  help.showModal();
}

/** Whether keys are being typed somewhere, or belong to the browser. */
function isTyping(event) {
  return event.ctrlKey || event.metaKey || event.altKey
    || event.target.closest?.("input, textarea, select, [contenteditable]");
}

document.addEventListener("keydown", (event) => {
  if (isTyping(event) || main.hidden || !hasKeys()) {
    return;
  }
  if (event.key === "?") {
    event.preventDefault();
    toggleHelp();
  } else if (help.open) {
    return;
  } else if (/^[1-9]$/.test(event.key)) {
    const view = offered()[Number(event.key) - 1];
    if (view) {
      location.hash = view.id;
    }
  } else {
    shown?.key?.(event);
  }
});

document.querySelector(".skip").addEventListener("click", (event) => {
  // The hash says which view is shown; the link must leave it alone.
  event.preventDefault();
  (main.hidden ? document.getElementById("login") : main).querySelector("h1").focus();
});
document.getElementById("help").addEventListener("click", toggleHelp);
document.getElementById("logout").addEventListener("click", async () => {
  await logout();
  await leave("You are logged out.");
});
addEventListener("hashchange", () => {
  if (!main.hidden) {
    show(true);
  }
});

begin("", false);
