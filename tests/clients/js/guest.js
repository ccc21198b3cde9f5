// What the scenes share: somebody at the relay with a key, and a client that puts up with nothing.
// A scene is run as `node scenes/NAME.js ws://HOST:PORT` and ends with 0 when all went well.

import assert from "node:assert/strict";
import WebSocket from "ws";
import { finalizeEvent, generateSecretKey, getPublicKey } from "nostr-tools/pure";
import { SimplePool, useWebSocketImplementation as useInPool } from "nostr-tools/pool";
import { Relay, useWebSocketImplementation as useInRelay } from "nostr-tools/relay";

useInPool(WebSocket);
useInRelay(WebSocket);

/** How long a scene waits for what must come. */
export const PATIENCE_MS = 20_000;

/** The relay's URL. */
export const url = process.argv[2];
assert.match(url ?? "", /^ws:\/\//, "usage: node scenes/NAME.js ws://HOST:PORT");

// nostr-tools only mutters about messages that it cannot read; here that ends the scene.
console.warn = (...words) => {
  console.error("the client complained:", ...words);
  process.exit(1);
};
setTimeout(() => {
  console.error("the scene takes too long");
  process.exit(1);
}, 3 * PATIENCE_MS).unref();

/** Seconds since 1970, some seconds ago. */
export const secondsAgo = (seconds) => Math.floor(Date.now() / 1000) - seconds;

/** The ids of events. */
export const ids = (events) => events.map((event) => event.id);

export class Guest {
  secret = generateSecretKey();
  key = getPublicKey(this.secret);
  sign = async (template) => finalizeEvent(template, this.secret);

  /** Comes to the relay with a new key. */
  static async arrive() {
    const guest = new Guest();
    guest.relay = await Relay.connect(url);
    guest.relay.publishTimeout = PATIENCE_MS;
    guest.relay.onnotice = (text) => assert.fail(`NOTICE ${text}`);
    return guest;
  }

  /** A signed event of now, unless it says otherwise. */
  event(kind, content, tags = [], created_at = secondsAgo(0)) {
    return finalizeEvent({ kind, content, tags, created_at }, this.secret);
  }

  /** Publishes what must be taken. */
  async publish(...what) {
    const event = typeof what[0] === "number" ? this.event(...what) : what[0];
    await this.relay.publish(event);
    return event;
  }

  /** Opens a subscription; what comes is awaited with `next`, in order. */
  async listen(...filters) {
    const feed = { stored: [], heard: [], waiting: [] };
    feed.next = () =>
      feed.heard.length > 0
        ? Promise.resolve(feed.heard.shift())
        : new Promise((resolve, reject) => {
            const late = setTimeout(() => reject(new Error("nothing came")), PATIENCE_MS);
            feed.waiting.push((event) => (clearTimeout(late), resolve(event)));
          });
    await new Promise((resolve, reject) => {
      let isLive = false;
      feed.subscription = this.relay.subscribe(filters, {
        // The client takes a silent relay for one that has sent everything; the scene does not.
        eoseTimeout: 10 * PATIENCE_MS,
        onevent(event) {
          if (!isLive) feed.stored.push(event);
          else if (feed.waiting.length > 0) feed.waiting.shift()(event);
          else feed.heard.push(event);
        },
        oninvalidevent: (event) => reject(new Error(`not asked for: ${JSON.stringify(event)}`)),
        oneose: () => ((isLive = true), resolve()),
        onclose: (reason) => reject(new Error(reason)),
      });
    });
    return feed;
  }

  /** What is stored. */
  async find(...filters) {
    const feed = await this.listen(...filters);
    feed.subscription.close();
    return feed.stored;
  }

  /** Proves the key (NIP-42). */
  prove() {
    return this.relay.auth(this.sign);
  }

  leave() {
    this.relay.close();
  }
}

/** Lets some people act, and sees them out. This ends the program. */
export async function scene(count, act) {
  const guests = await Promise.all(Array.from({ length: count }, Guest.arrive));
  await act(...guests);
  guests.forEach((guest) => guest.leave());
  // Timers of the client's, for answers that have long come, would keep the program waiting.
  process.exit(0);
}

export { SimplePool };

/**
 * A connection without the library. nostr-tools holds what a relay sends against the letters of the filter, and
 * would drop what an extension of filters found; a client that uses one listens like this.
 */
export class Wire {
  feeds = new Map();

  static async open() {
    const wire = new Wire();
    wire.socket = new WebSocket(url);
    wire.socket.on("message", (text) => wire.hear(JSON.parse(text)));
    await new Promise((resolve, reject) => wire.socket.on("open", resolve).on("error", reject));
    return wire;
  }

  hear([verb, name, what]) {
    const feed = this.feeds.get(name);
    if (verb === "CLOSED") feed.fail(new Error(what));
    if (verb === "EOSE") feed.ready(feed);
    if (verb !== "EVENT") return;
    if (!feed.isLive) feed.stored.push(what);
    else if (feed.waiting.length > 0) feed.waiting.shift()(what);
    else feed.heard.push(what);
  }

  /** Opens a subscription; what comes live is awaited with `next`, in order. */
  listen(...filters) {
    return new Promise((resolve, fail) => {
      const name = `feed ${this.feeds.size}`;
      const feed = { stored: [], heard: [], waiting: [], isLive: false, fail };
      feed.ready = () => ((feed.isLive = true), resolve(feed));
      feed.next = () =>
        feed.heard.length > 0
          ? Promise.resolve(feed.heard.shift())
          : new Promise((resolve) => feed.waiting.push(resolve));
      this.feeds.set(name, feed);
      this.socket.send(JSON.stringify(["REQ", name, ...filters]));
    });
  }

  /** What is stored. */
  async find(...filters) {
    return (await this.listen(...filters)).stored;
  }

  leave() {
    this.socket.close();
  }
}
