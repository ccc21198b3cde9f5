// Logging in: one signature by a browser extension (NIP-07), or a pasted token, opens a session.

import { LOGIN_HASH, base, login } from "./api.js";
import { field, form, h, sentence } from "./dom.js";

const section = document.getElementById("login");
const address = document.querySelector('meta[name="plaza-address"]').content;

/** What an extension is asked to sign. */
function unsigned() {
  const nonce = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0"));
  return {
    kind: 27235,
    created_at: Math.floor(Date.now() / 1000),
    tags: [["u", address], ["method", "POST"], ["payload", LOGIN_HASH]],
    content: nonce.join(""),
  };
}

async function byExtension() {
  if (!window.nostr?.signEvent) {
    throw new Error(
      "This browser has no Nostr extension (NIP-07) that answers here. Install one, or paste a token below.",
    );
  }
  let signed;
  try {
    signed = await window.nostr.signEvent(unsigned());
  } catch {
    throw new Error("The extension did not sign. Allow it to, then try again.");
  }
  const bytes = new TextEncoder().encode(JSON.stringify(signed));
  await login(btoa(String.fromCharCode(...bytes)));
}

/** Shows the form and waits until somebody has logged in. `why` is a sentence on what happened before. */
export function askToLogIn(why) {
  return new Promise((done) => {
    const title = h("h1", { id: "login-title", tabindex: "-1" }, "Log in to manage");
    const finish = () => {
      section.hidden = true;
      section.replaceChildren();
      done();
    };
    const said = (work) => async () => {
      try {
        await work();
      } catch (error) {
        throw new Error(sentence(error.message));
      }
      finish();
    };
    const extension = form(
      { attributes: { class: "plain" }, button: "Log in with your extension", submit: said(byExtension) },
      h("p", {}, "Your Nostr extension signs once to say who you are. It publishes nothing."),
    );
    const pasted = h("textarea", { rows: "3", name: "token", spellcheck: "false", autocomplete: "off" });
    const token = form(
      { attributes: { class: "plain" }, button: "Log in with this token", submit: said(() => login(pasted.value)) },
      h("p", {}, "Run this where your secret key is, and paste what it writes within a minute:"),
      h("pre", {}, h("code", {}, `plaza admin token --url ${address} --key FILE`)),
      field("Token", pasted),
    );
    section.replaceChildren(
      title,
      h("p", {}, "For owners, admins and moderators of ", h("strong", {}, address), "."),
      why ? h("p", { class: "wrong", role: "alert" }, why) : "",
      extension,
      h("details", {}, h("summary", {}, "Without an extension"), token),
      h("p", {}, h("a", { href: base }, "About this community"), " and its ", h("a", { href: `${base}?rules` }, "rules")),
    );
    section.hidden = false;
    title.focus();
  });
}
