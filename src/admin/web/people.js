// People: who is welcome, who is banned, who manages, which addresses are turned away, which names there are.

import { base, call } from "./api.js";
import { count, field, h, sentence, when } from "./dom.js";
import { forgetNameless, person } from "./keys.js";
import { line, listSection } from "./lists.js";

const RANK_WORDS = { owner: "owner", admin: "admin", moderator: "moderator", nobody: "" };

/** Why, by whom and when something was decided. */
function ruling(entry) {
  return h("span", { class: "ruling" }, entry.reason && h("q", { dir: "auto" }, entry.reason), " ",
    entry.by && ["by ", person(entry.by), " "], entry.at && when(entry.at));
}

/** A list of people about whom something was decided by hand. */
function decided({ may, say }, { id, title, about, empty, list, add, remove, button, words, said, away }) {
  const [key, reason] = [line({ required: true }), line({ maxlength: "500" })];
  return listSection({
    id, title, about, empty, say,
    read: () => call(list),
    row: (entry) => [person(entry.pubkey), ruling(entry)],
    remove: (entry) => may(remove) && { words, method: remove, params: [entry.pubkey, ""], said: away },
    add: may(add) && {
      button,
      fields: [field("Public key", key, "As npub1… or 64 hexadecimal digits."), field("Reason", reason)],
      send: async () => {
        await call(add, key.value.trim(), reason.value);
        forgetNameless();
        return said;
      },
    },
  });
}

/** Characters of an event's text that are shown, and events that one call asks for. */
const [EVENT_CHARS, ASKED_MAX] = [120, 200];

/** Entries about events, with the events that are stored. */
async function withEvents(entries, may) {
  const asked = entries.slice(0, ASKED_MAX).map((entry) => entry.id);
  const events = may("listevents") && asked.length > 0 ? await call("listevents", asked) : [];
  const byId = new Map(events.map((event) => [event.id, event]));
  return entries.map((entry) => ({ ...entry, event: byId.get(entry.id) }));
}

/** A list of events about which something was decided by hand. */
function decidedEvents({ may, say }, { id, title, list, remove, words, away, empty }) {
  return listSection({
    id, title, say, empty,
    read: async () => withEvents(await call(list), may),
    row: (entry) => [
      h("code", { title: entry.id }, `${entry.id.slice(0, 12)}…`),
      entry.event && h("span", {}, person(entry.event.pubkey), ": ",
        h("q", { dir: "auto" }, entry.event.content.slice(0, EVENT_CHARS) || "no text")),
      ruling(entry),
    ],
    remove: (entry) => may(remove) && { words, method: remove, params: [entry.id, ""], said: away },
  });
}

/** Who manages, with the roles of each as buttons that take them away. */
function staff({ may, say, me }) {
  const key = line({ required: true });
  const role = h("select", {});
  const fill = async () => {
    const own = may("listroles") ? Object.entries(await call("listroles")) : [];
    const all = [["moderator", "Moderator"], ...(me().rank === "owner" ? [["admin", "Admin"]] : []),
      ...own.map(([id, made]) => [id, made.label || id])];
    role.replaceChildren(...all.map(([id, label]) => h("option", { value: id }, label)));
  };
  const mayTake = (id) => may("unassignrole") && (id !== "admin" || me().rank === "owner");
  fill().catch(() => {});
  return listSection({
    id: "staff", title: "Who manages", say,
    about: "Moderators decide about people and events. Admins also decide about kinds, addresses, names, roles and "
      + "moderators. Owners are named in relay.toml.",
    empty: "Nobody but owners.",
    read: async () => {
      await fill().catch(() => {});
      return call("liststaff");
    },
    row: (entry, load) => [
      person(entry.pubkey),
      h("span", { class: "roles" },
        entry.rank === "owner" && h("span", { class: "tag" }, RANK_WORDS.owner),
        entry.roles.map((id) => roleOf(entry, id, mayTake(id), load, say)),
        entry.methods.map((method) => h("code", { class: "tag" }, method))),
    ],
    add: may("assignrole") && {
      button: "Give the role",
      fields: [field("Public key", key, "As npub1… or 64 hexadecimal digits."), field("Role", role)],
      send: async () => {
        await call("assignrole", key.value.trim(), role.value);
        forgetNameless();
        return "The role is given.";
      },
    },
  });
}

/** A role of somebody; where the caller may, with a button that takes it away. */
function roleOf(entry, id, mayTake, load, say) {
  if (!mayTake) {
    return h("span", { class: "tag" }, id);
  }
  return h("button", {
    type: "button",
    class: "tag",
    "aria-label": `Take away the role ${id}`,
    onclick: async () => {
      try {
        await call("unassignrole", entry.pubkey, id);
        await load();
        document.getElementById("staff").focus();
        say("The role is taken away.");
      } catch (error) {
        say(sentence(error.message));
      }
    },
  }, id, h("span", { "aria-hidden": "true" }, " ×"));
}

function roles({ may, say }) {
  const [id, label, about] = [line({ required: true, maxlength: "64" }), line({ maxlength: "64" }), line({})];
  return listSection({
    id: "roles", title: "Other roles", say,
    about: "They give no power. Clients show them beside a name.",
    empty: "There are none.",
    read: async () => Object.entries(await call("listroles")),
    row: ([name, role]) => [h("strong", {}, role.label || name), " ", h("code", {}, name), " ",
      h("span", { class: "hint" }, role.description)],
    remove: ([name]) => may("deleterole")
      && { words: "Delete", method: "deleterole", params: [name], said: "The role is deleted." },
    add: may("createrole") && {
      button: "Make the role",
      fields: [field("Id", id, "Small letters, digits, - _ and ."), field("Name", label), field("What it means", about)],
      send: async () => {
        await call("createrole", id.value.trim(), label.value, about.value);
        return "The role is made.";
      },
    },
  });
}

/** Who the members are, however they came to be. */
function members({ say }) {
  return listSection({
    id: "all-members", title: "Members", say,
    about: "All of them: those whom relay.toml names, who was welcomed by hand, and who joined with a code.",
    empty: "There are none.",
    read: () => call("listmembers"),
    row: (entry) => [person(entry.pubkey), " ", entry.in_settings && h("span", { class: "tag" }, "relay.toml"),
      entry.by && ruling(entry)],
  });
}

/** Codes with which people become members. */
function claims({ may, say }) {
  const uses = line({ inputmode: "numeric", maxlength: "7" });
  return listSection({
    id: "claims", title: "Invite codes", say,
    about: "Who has one becomes a member. Members get some of their own by their clients.",
    empty: "There are none.",
    read: () => call("listclaims"),
    row: (entry) => [h("code", {}, entry.code), " ", h("span", { class: "ruling" },
      `for ${count(entry.left, "more person")}`.replace("persons", "people"), ", until ", when(entry.until), ", by ", person(entry.by))],
    remove: (entry) => may("deleteclaim")
      && { words: "Take away", method: "deleteclaim", params: [entry.code], said: "The code counts no more." },
    add: may("createclaim") && {
      button: "Make a code",
      fields: [field("People", uses, "How many it lets in; empty: as the settings say.")],
      send: async () => {
        const made = await call("createclaim", uses.value.trim() === "" ? null : Number(uses.value));
        return `The code is ${made.code}.`;
      },
    },
  });
}

function addresses({ may, say }) {
  const [ip, reason] = [line({ required: true }), line({ maxlength: "500" })];
  return listSection({
    id: "addresses", title: "Blocked addresses", say,
    empty: "No address is blocked.",
    read: () => call("listblockedips"),
    row: (entry) => [h("code", {}, entry.ip), ruling(entry)],
    remove: (entry) => may("unblockip")
      && { words: "Unblock", method: "unblockip", params: [entry.ip], said: "The address is let in again." },
    add: may("blockip") && {
      button: "Block",
      fields: [field("Address", ip, "Such as 192.0.2.7, or a network such as 192.0.2.0/24."), field("Reason", reason)],
      send: async () => {
        await call("blockip", ip.value.trim(), reason.value);
        return "The address is blocked.";
      },
    },
  });
}

function names({ may, say }) {
  const [name, key] = [line({ required: true, maxlength: "64" }), line({ required: true })];
  return listSection({
    id: "names", title: "Names", say,
    about: base === "/"
      ? `What people may call themselves at this community's domain (NIP-05), such as ann@${location.hostname}.`
      : "What people may call themselves (NIP-05), where the community has a domain of its own.",
    empty: "No name is given.",
    read: async () => Object.entries(await call("listnames")),
    row: ([local, whose]) => [h("strong", {}, local), " ", person(whose)],
    remove: ([local]) => may("removename")
      && { words: "Remove", method: "removename", params: [local], said: "The name is removed." },
    add: may("setname") && {
      button: "Give the name",
      fields: [field("Name", name, "Small letters, digits, - _ and ."), field("Public key", key)],
      send: async () => {
        await call("setname", name.value.trim(), key.value.trim());
        forgetNameless();
        return "The name is given.";
      },
    },
  });
}

/** Shows the sections that the caller may see. */
export function show(context) {
  const { may } = context;
  const sections = [
    may("listallowedpubkeys") && decided(context, {
      id: "members", title: "Welcome by hand", list: "listallowedpubkeys", add: "allowpubkey", remove: "unallowpubkey",
      about: "Members whatever the settings say. Those that relay.toml names are members too and do not stand here.",
      empty: "Nobody.", button: "Welcome", words: "Remove", said: "They are welcome.", away: "They are taken off the list.",
    }),
    may("listmembers") && members(context),
    may("listclaims") && claims(context),
    may("listbannedpubkeys") && decided(context, {
      id: "banned", title: "Banned people", list: "listbannedpubkeys", add: "banpubkey", remove: "unbanpubkey",
      about: "Nothing of theirs is taken or shown.",
      empty: "Nobody is banned.", button: "Ban", words: "Lift the ban", said: "They are banned.", away: "The ban is lifted.",
    }),
    may("listdismissedreports") && decided(context, {
      id: "dismissed", title: "Reports put aside", list: "listdismissedreports", add: "dismissreports",
      remove: "undismissreports",
      about: "Reports about these people as such, as far as they were here at that time. Later ones count again.",
      empty: "Nobody's.", button: "Put aside", words: "Take up again", said: "Their reports are put aside.",
      away: "Their reports count again.",
    }),
    staff(context),
    may("listroles") && roles(context),
    may("listbannedevents") && decidedEvents(context, {
      id: "removed", title: "Removed events", list: "listbannedevents", remove: "unbanevent", words: "Put back",
      away: "The event is shown again.", empty: "No event is removed.",
    }),
    may("listallowedevents") && decidedEvents(context, {
      id: "approved", title: "Approved events", list: "listallowedevents", remove: "unallowevent",
      words: "Take back", away: "The event may be reported again.", empty: "No event is approved.",
    }),
    may("listblockedips") && addresses(context),
    may("listnames") && names(context),
  ].filter(Boolean);
  const jump = sections.map((section) => {
    const heading = section.querySelector("h2");
    return h("button", { type: "button", class: "quiet", onclick: () => {
      heading.focus();
      heading.scrollIntoView();
    } }, heading.textContent);
  });
  return { element: h("div", {}, h("div", { class: "jump", role: "group", "aria-label": "Go to" }, jump), sections) };
}
