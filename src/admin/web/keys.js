// Public keys as people see them: by name where one is known, as npub1… where not. Names are what people call
// themselves, so the key always stands beside.

import { call } from "./api.js";
import { h } from "./dom.js";

const LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATORS = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];

function checksum(values) {
  let sum = 1;
  for (const value of values) {
    const top = sum >>> 25;
    sum = ((sum & 0x1ffffff) << 5) ^ value;
    GENERATORS.forEach((generator, bit) => {
      sum ^= (top >>> bit) & 1 ? generator : 0;
    });
  }
  return sum;
}

/** A key of 64 hexadecimal digits as npub1… (NIP-19, BIP-173). */
export function npub(hex) {
  const bits = [...hex].flatMap((digit) => [8, 4, 2, 1].map((bit) => (parseInt(digit, 16) & bit ? 1 : 0)));
  const values = [];
  for (let at = 0; at < bits.length; at += 5) {
    values.push([0, 1, 2, 3, 4].reduce((value, place) => value * 2 + (bits[at + place] ?? 0), 0));
  }
  // "npub" in the form that the checksum takes: high bits, a zero, low bits.
  const prefix = [3, 3, 3, 3, 0, 14, 16, 21, 2];
  const sum = checksum([...prefix, ...values, 0, 0, 0, 0, 0, 0]) ^ 1;
  const check = [25, 20, 15, 10, 5, 0].map((shift) => (sum >>> shift) & 31);
  return `npub1${[...values, ...check].map((value) => LETTERS[value]).join("")}`;
}

/** Begin and end of a key. */
export function short(hex) {
  const whole = npub(hex);
  return `${whole.slice(0, 10)}…${whole.slice(-4)}`;
}

/** Keys that one call asks the names of. */
const ASKED_MAX = 200;

const names = new Map();
let mayAsk = false;
let waiting = new Map();

async function ask() {
  const asked = waiting;
  waiting = new Map();
  const keys = [...asked.keys()];
  for (let at = 0; at < keys.length; at += ASKED_MAX) {
    const some = keys.slice(at, at + ASKED_MAX);
    let found = {};
    try {
      // Who may not ask sees keys.
      found = mayAsk ? await call("listprofiles", some) : {};
    } catch {
      // So does who asks in vain.
    }
    for (const key of some) {
      names.set(key, found[key] ?? "");
      asked.get(key).forEach((show) => show(found[key] ?? ""));
    }
  }
}

/** Says whether the caller may ask for names. */
export function askForNames(may) {
  mayAsk = may;
}

function withName(hex, show) {
  if (names.has(hex)) {
    show(names.get(hex));
    return;
  }
  if (waiting.size === 0) {
    setTimeout(ask, 0);
  }
  waiting.set(hex, [...(waiting.get(hex) ?? []), show]);
}

/** A person: the name, if there is one, and the key. */
export function person(hex) {
  if (!/^[0-9a-f]{64}$/.test(hex ?? "")) {
    return h("span", { class: "person" }, "somebody unknown");
  }
  const name = h("bdi", { class: "name" });
  const key = h("code", { class: "key" }, short(hex));
  const element = h("span", { class: "person", title: npub(hex), "data-key": hex }, name, key);
  withName(hex, (known) => {
    name.textContent = known;
    name.hidden = known === "";
  });
  name.hidden = name.textContent === "";
  return element;
}

/** Forgets that some have no name, so that they are asked about again. */
export function forgetNameless() {
  [...names].filter(([, name]) => name === "").forEach(([key]) => names.delete(key));
}
