// The queue: what is reported and of which nobody has decided, one at a time, with one key for each decision.

import { call } from "./api.js";
import { count, field, h, sentence, when } from "./dom.js";
import { person } from "./keys.js";

/** Keys of this view, for the list of keys. */
export const KEYS = [
  ["j ↓", "Next report"],
  ["k ↑", "Report before"],
  ["a", "Approve: keep the event, whatever is reported of it; or put the reports about a person aside"],
  ["r", "Remove the event"],
  ["b", "Ban the author, with all their events"],
  ["u", "Undo what you did last"],
];

/** Other events of an author that are shown. */
const HISTORY = 12;

/** Seconds between two looks whether more was reported. */
const LOOK_SECONDS = 30;

/** Words for kinds that people meet; others are numbers. */
const KIND_WORDS = new Map([
  [0, "profile"], [1, "note"], [3, "follow list"], [6, "repost"], [7, "reaction"], [9, "chat message"],
  [11, "thread"], [16, "repost"], [20, "picture"], [21, "video"], [22, "short video"], [42, "channel message"],
  [1111, "comment"], [1621, "issue"], [9735, "zap"], [1984, "report"], [30023, "article"], [30402, "listing"],
  [30018, "product"], [30017, "stall"], [10002, "relay list"],
]);

/** What an event is. */
function kindWord(kind) {
  return KIND_WORDS.get(kind) ?? `event of kind ${kind}`;
}

/** Pictures and films that a text names, on encrypted sites alone: only those may the page load. */
function media(text) {
  const found = text.match(/https:\/\/[^\s"'<>]+\.(?:jpe?g|png|gif|webp|avif|mp4|webm|mov)(?:\?[^\s"'<>]*)?/gi) ?? [];
  return [...new Set(found)].slice(0, 8);
}

/** A button that fetches a picture or film once somebody asks to see it. */
function onClick(address) {
  const isFilm = /\.(mp4|webm|mov)(\?|$)/i.test(address);
  const place = h("div", { class: "media" });
  const what = isFilm ? "video" : "picture";
  const button = h("button", {
    type: "button",
    class: "quiet",
    onclick: () => {
      const shown = isFilm
        ? h("video", { src: address, controls: true, preload: "metadata" })
        : h("img", { src: address, alt: "The picture that the event shows", referrerpolicy: "no-referrer" });
      shown.addEventListener("error", () => {
        place.replaceChildren(h("p", { class: "hint" }, `The ${what} cannot be loaded from there any more.`));
      });
      place.replaceChildren(shown);
    },
  }, `Show the ${what} from `, h("bdi", {}, new URL(address).hostname));
  place.append(button);
  return place;
}

/** The content of an event, as text, with its pictures behind buttons. */
function content(event) {
  const title = event.tags.find((tag) => tag[0] === "title")?.[1];
  const named = [event.content, ...event.tags.map((tag) => `${tag[1] ?? ""} ${tag.slice(2).join(" ")}`)].join(" ");
  const text = event.content.trim();
  return [
    title && h("p", { class: "event-title", dir: "auto" }, title),
    h("div", { class: "content", dir: "auto", tabindex: "0", role: "group", "aria-label": "What the event says" },
      text === "" ? h("em", {}, "It has no text.") : text),
    media(named).map(onClick),
    h("details", {}, h("summary", {}, "All that the event holds"),
      h("pre", { tabindex: "0" }, h("code", {}, JSON.stringify(event, null, 2)))),
  ];
}

function report(one) {
  return h("li", {},
    h("strong", { class: "tag" }, one.type), " ", person(one.by), " ", when(one.at),
    one.text && h("p", { dir: "auto", class: "said-of-it" }, one.text));
}

/** Other events of an author: one line each, to be opened. */
function historyOf(author, without) {
  const place = h("div", {}, h("p", { class: "hint" }, "Looking…"));
  call("listauthorevents", author, HISTORY + 1).then((events) => {
    const others = events.filter((event) => event.id !== without).slice(0, HISTORY);
    place.replaceChildren(others.length === 0
      ? h("p", { class: "hint" }, "Nothing else of theirs is stored here.")
      : h("ul", { class: "history" }, others.map((event) =>
        h("li", {}, h("details", {},
          h("summary", {}, h("span", { class: "tag" }, kindWord(event.kind)), " ",
            h("bdi", {}, event.content.slice(0, 90).replaceAll("\n", " ") || "no text"), " ", when(event.created_at)),
          h("div", { class: "content", dir: "auto" }, event.content || "It has no text."))))));
  }, (error) => place.replaceChildren(h("p", { class: "wrong" }, sentence(error.message))));
  return place;
}

/** What tells two entries of the queue apart. */
const nameOf = (entry) => entry.id ?? entry.pubkey;

class Queue {
  constructor({ may, me, say }) {
    Object.assign(this, { may, me, say, entries: [], at: 0, done: [], busy: false, reason: "" });
    this.list = h("ol", { class: "reports", "aria-label": "What is reported" });
    this.detail = h("div", { class: "detail" });
    this.counted = h("p", { class: "hint" });
    this.fresh = h("p", { class: "fresh", role: "status" });
    this.undoing = h("button", { type: "button", class: "quiet", onclick: () => this.undo() }, "Undo ",
      h("kbd", { "aria-hidden": "true" }, "u"));
    this.element = h("div", {},
      h("div", { class: "row bar" }, this.counted, this.fresh,
        h("button", { type: "button", class: "quiet", onclick: () => this.load() }, "Look again"), this.undoing),
      h("div", { class: "queue" }, this.list, this.detail));
    this.load();
    this.watch();
  }

  /** Says when more is reported; what is shown stays until somebody asks for it. */
  watch() {
    this.timer = setTimeout(async () => {
      try {
        if (!document.hidden && !this.busy) {
          const now = await call("listmoderationqueue");
          const known = new Set([...this.entries, ...this.done].map(nameOf));
          const fresh = now.filter((entry) => !known.has(nameOf(entry))).length;
          this.fresh.textContent = fresh === 0 ? "" : `${count(fresh, "new report")}: look again.`;
        }
      } catch {
        // The next look, or what somebody does, tells.
      }
      if (this.timer !== null) {
        this.watch();
      }
    }, LOOK_SECONDS * 1000);
  }

  close() {
    clearTimeout(this.timer);
    this.timer = null;
  }

  /** Fetches the queue anew and shows the entry of this name, or the one in its place. */
  async load(name) {
    this.counted.textContent = "Looking…";
    this.fresh.textContent = "";
    try {
      this.entries = await call("listmoderationqueue");
    } catch (error) {
      this.counted.replaceChildren(h("span", { class: "wrong" }, sentence(error.message)));
      return;
    }
    const at = this.entries.findIndex((entry) => nameOf(entry) === name);
    this.at = Math.max(0, Math.min(at < 0 ? this.at : at, this.entries.length - 1));
    this.render();
  }

  get current() {
    return this.entries[this.at];
  }

  go(step) {
    const at = this.at + step;
    if (at < 0 || at >= this.entries.length) {
      this.say(step > 0 ? "This is the last one." : "This is the first one.");
      return;
    }
    this.at = at;
    this.render(true);
  }

  render(moveFocus) {
    const total = this.entries.length;
    this.counted.textContent = total === 0 ? "Nothing is waiting." : `${count(total, "report")} to decide about`;
    this.undoing.hidden = this.done.length === 0;
    this.list.replaceChildren(...this.entries.map((entry, at) => h("li", {}, this.line(entry, at))));
    this.list.hidden = total === 0;
    this.list.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
    this.detail.replaceChildren(...(total === 0 ? [this.empty()] : this.shown(this.current)));
    if (moveFocus) {
      this.detail.querySelector("h2").focus({ preventScroll: true });
      this.detail.scrollIntoView({ block: "nearest" });
    }
  }

  line(entry, at) {
    const bare = entry.id ? "Something private" : "The person as such";
    const text = entry.event ? entry.event.content.slice(0, 80) || kindWord(entry.event.kind) : bare;
    return h("button", {
      type: "button",
      "aria-current": at === this.at ? "true" : null,
      onclick: () => {
        this.at = at;
        this.render(true);
      },
    }, h("span", { class: "line-reason" }, sentence(entry.reason)), h("bdi", { class: "line-text" }, text));
  }

  empty() {
    return h("div", { class: "box calm" }, h("h2", { tabindex: "-1" }, "All done"),
      h("p", {}, "Nothing that is reported here waits for a decision."));
  }

  shown(entry) {
    const { event } = entry;
    const bare = entry.id ? "Reported, and private" : "Reported person";
    const what = event ? `Reported ${kindWord(event.kind)}` : bare;
    const about = entry.id
      ? "What is reported is not for you to read. The reports are, and whoever wrote them has read it."
      : "The reports are about this person, not about one event.";
    const reason = h("input", { type: "text", maxlength: "500", value: this.reason, autocomplete: "off" });
    reason.addEventListener("input", () => {
      this.reason = reason.value;
    });
    return [
      h("div", { class: "row spread" },
        h("h2", { tabindex: "-1" }, what, h("span", { class: "hint" }, ` ${this.at + 1} of ${this.entries.length}`)),
        h("span", { class: "pager" },
          h("button", { type: "button", class: "quiet", "aria-label": "Report before", onclick: () => this.go(-1) }, "↑"),
          h("button", { type: "button", class: "quiet", "aria-label": "Next report", onclick: () => this.go(1) }, "↓"))),
      entry.pubkey &&
        h("p", { class: "by" }, event ? ["By ", person(entry.pubkey), " ", when(event.created_at)] : person(entry.pubkey)),
      event ? content(event) : h("p", {}, about),
      h("h3", {}, "Who reported it"),
      h("ul", { class: "reported" }, entry.reports.map(report)),
      h("div", { class: "reason" }, field("Reason, for the record (may stay empty)", reason)),
      this.buttons(entry),
      entry.pubkey && this.may("listauthorevents") && [
        h("h3", {}, event ? "What else they wrote here" : "What they wrote here"),
        historyOf(entry.pubkey, event?.id),
      ],
    ].flat(Infinity).filter(Boolean);
  }

  buttons(entry) {
    const all = [
      ["a", "Approve", "approve", "allowevent", entry.id],
      ["r", "Remove", "remove", "banevent", entry.id],
      ["a", "Dismiss", "approve", "dismissreports", !entry.id],
      ["b", "Ban author", "ban", "banpubkey", entry.pubkey],
      ["", "Welcome as a member", "quiet", "allowpubkey", !entry.id],
    ];
    this.wrong = h("p", { class: "wrong", role: "alert" });
    const buttons = all.filter(([, , , method, fits]) => fits && this.may(method));
    return h("div", { class: "buttons" },
      buttons.map(([key, words, look, method]) => h("button", {
        type: "button", class: look, onclick: () => this.decide(method),
      }, words, key && [" ", h("kbd", { "aria-hidden": "true" }, key)])),
      this.wrong);
  }

  /** Decides about the entry that is shown. What takes it back is kept. */
  async decide(method) {
    const entry = this.current;
    if (!entry || this.busy || !this.may(method)) {
      return;
    }
    this.busy = true;
    try {
      const isAuthor = !entry.id || method === "banpubkey";
      const whom = isAuthor ? entry.pubkey : entry.id;
      const words = { allowevent: "Approved.", banevent: "Removed.", allowpubkey: "Welcomed.", banpubkey: "Banned.",
        dismissreports: "Dismissed." };
      const back = method === "banpubkey" ? await this.undoOfBan(whom)
        : [method.replace(/^(ban|allow|dismiss)/, "un$1"), whom];
      await call(method, whom, this.reason);
      this.done.push({ back, id: entry.id, pubkey: entry.pubkey });
      this.reason = "";
      const gone = isAuthor && method === "banpubkey"
        ? (other) => other.pubkey === whom
        : (other) => nameOf(other) === nameOf(entry);
      this.at -= this.entries.slice(0, this.at).filter(gone).length;
      this.entries = this.entries.filter((other) => !gone(other));
      this.at = Math.max(0, Math.min(this.at, this.entries.length - 1));
      this.render(true);
      this.say(`${words[method]} Press u to undo. ${count(this.entries.length, "report")} left.`);
    } catch (error) {
      this.wrong.textContent = sentence(error.message);
    } finally {
      this.busy = false;
    }
  }

  /** What takes a ban back: somebody who was a member is one again. */
  async undoOfBan(key) {
    const allowed = this.may("listallowedpubkeys") ? await call("listallowedpubkeys") : [];
    const was = allowed.find((one) => one.pubkey === key);
    return was ? ["allowpubkey", key, was.reason] : ["unbanpubkey", key];
  }

  async undo() {
    const last = this.done.at(-1);
    if (!last || this.busy) {
      if (!last) {
        this.say("There is nothing to undo.");
      }
      return;
    }
    this.busy = true;
    try {
      await call(...last.back);
      this.done.pop();
      await this.load(nameOf(last));
      this.detail.querySelector("h2").focus();
      this.say("Undone.");
    } catch (error) {
      this.say(sentence(error.message));
    } finally {
      this.busy = false;
    }
  }

  key(event) {
    const steps = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };
    const entry = this.current;
    const decisions = { a: entry?.id ? "allowevent" : "dismissreports", r: "banevent", b: "banpubkey" };
    if (steps[event.key]) {
      // Within a long text arrows move the text.
      if (event.key.length === 1 || !event.target.closest(".content, pre")) {
        event.preventDefault();
        this.go(steps[event.key]);
      }
    } else if (event.repeat) {
      // A key that is held down decides once.
    } else if (event.key === "u") {
      this.undo();
    } else if (entry && event.key === "r" && !entry.id) {
      this.say("The reports are about a person: b bans them, a puts the reports aside.");
    } else if (entry && event.key === "b" && !entry.pubkey) {
      this.say("What is reported is private, and so is who wrote it.");
    } else if (entry && decisions[event.key]) {
      this.decide(decisions[event.key]);
    }
  }
}

/** Shows the queue. */
export function show(context) {
  const queue = new Queue(context);
  return { element: queue.element, key: (event) => queue.key(event), close: () => queue.close() };
}


