// Groups that the relay manages (NIP-29): which there are, who is in each and with which role, and codes to join with.

import { call, me } from "./api.js";
import { count, field, h, when } from "./dom.js";
import { forgetNameless, person } from "./keys.js";
import { line, listSection } from "./lists.js";

/** What a group is, as words beside its name. */
const FLAGS = ["private", "restricted", "hidden", "closed"];

const KEY_HINT = "As npub1… or 64 hexadecimal digits.";

function groups({ may, say }, open) {
  const [id, name, key] = [line({ required: true, maxlength: "64" }), line({ maxlength: "200" }), line({ required: true })];
  // What the field goes back to when a group was made.
  key.defaultValue = me().pubkey ?? "";
  return listSection({
    id: "groups", title: "Groups", say,
    about: "Their admins manage them with any client that knows NIP-29. What is done here is done by the relay's own key.",
    empty: "There are none.",
    read: () => call("listgroups"),
    row: (group) => [
      h("strong", { dir: "auto" }, group.about.name || group.id), " ", h("code", {}, group.id), " ",
      FLAGS.filter((flag) => group.about[flag]).map((flag) => h("span", { class: "tag" }, flag)),
      h("span", { class: "hint" }, ` ${count(group.members, "member")}, made by `), person(group.creator), " ",
      may("showgroup") && h("button", { type: "button", class: "quiet", onclick: () => open(group.id) }, "Show"),
    ],
    remove: (group) => may("deletegroup")
      && { words: "End", method: "deletegroup", params: [group.id, ""], said: "The group is ended." },
    add: may("creategroup") && {
      button: "Make the group",
      fields: [field("Id", id, "By what events name it; it stays."), field("Name", name),
        field("Its admin", key, KEY_HINT)],
      send: async () => {
        await call("creategroup", id.value.trim(), name.value.trim(), key.value.trim());
        forgetNameless();
        return "The group is made.";
      },
    },
  });
}

function members({ may, say }, group) {
  const key = line({ required: true });
  const role = h("select", {}, ["", "moderator", "admin"].map((one) =>
    h("option", { value: one }, one === "" ? "none" : one)));
  return listSection({
    id: "group-members", title: `Who is in ${group}`, say,
    empty: "Nobody.",
    read: async () => (await call("showgroup", group)).members,
    row: (member) => [person(member.pubkey), " ", member.roles.map((one) => h("span", { class: "tag" }, one)), " ",
      h("span", { class: "ruling" }, when(member.since))],
    remove: (member) => may("removegroupuser")
      && { words: "Remove", method: "removegroupuser", params: [group, member.pubkey, ""], said: "They are out." },
    add: may("putgroupuser") && {
      button: "Put in",
      fields: [field("Public key", key, `${KEY_HINT} Who is in already gets the role.`), field("Role", role)],
      send: async () => {
        await call("putgroupuser", group, key.value.trim(), role.value ? [role.value] : []);
        forgetNameless();
        return "They are in.";
      },
    },
  });
}

function codes({ may, say }, group) {
  return listSection({
    id: "group-codes", title: `Codes to join ${group}`, say,
    empty: "There are none.",
    read: async () => (await call("showgroup", group)).codes,
    row: (code) => [h("code", {}, code.code), " ", h("span", { class: "ruling" }, `used ${count(code.uses, "time")}, made `,
      when(code.at))],
    remove: (code) => may("deletegroupinvite")
      && { words: "Take away", method: "deletegroupinvite", params: [group, code.code], said: "The code counts no more." },
    add: may("creategroupinvite") && {
      button: "Make a code",
      fields: [],
      send: async () => `The code is ${(await call("creategroupinvite", group)).code}.`,
    },
  });
}

/** Shows all groups, and one with all that is in it. */
export function show(context) {
  const one = h("div", {});
  const open = (group) => {
    one.replaceChildren(members(context, group), codes(context, group));
    const heading = one.querySelector("h2");
    heading.focus();
    heading.scrollIntoView();
  };
  return { element: h("div", {}, groups(context, open), one) };
}
