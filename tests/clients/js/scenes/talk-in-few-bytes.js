/* relay.toml
[compression]
context_bytes_max = 1_000_000
*/
// Compressed messages (permessage-deflate) as ws does them, with every option: what is said is stored, and what comes
// back is the same.
import assert from "node:assert/strict";
import WebSocket from "ws";
import { LongFormArticle, ShortTextNote } from "nostr-tools/kinds";
import { scene, url } from "../guest.js";

const prose = (words) =>
  Array.from({ length: words }, (_, at) => (at % 7 ? "bread is ready" : String((at * 7919) % 10007))).join(" ");

/** Asks one question over a connection of its own; the answers up to EOSE, and what was agreed on. */
async function ask(options, events, filter) {
  const socket = new WebSocket(url, { perMessageDeflate: options });
  const heard = [];
  await new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("close", (code, reason) => reject(new Error(`${code} ${reason}`)));
    socket.on("open", () => {
      events.forEach((event) => socket.send(JSON.stringify(["EVENT", event])));
      socket.send(JSON.stringify(["REQ", "all", filter]));
    });
    socket.on("message", (text) => {
      const message = JSON.parse(text);
      heard.push(message);
      const count = (verb) => heard.filter(([heard]) => heard === verb).length;
      if (count("EOSE") === 1 && count("OK") === events.length) resolve();
    });
  });
  const { extensions } = socket;
  socket.terminate();
  return { heard, extensions };
}

await scene(1, async (alice) => {
  const stored = [];
  for (const words of [1, 50, 500, 5000]) {
    stored.push(await alice.publish(ShortTextNote, prose(words), [], Math.floor(Date.now() / 1000) - words));
  }
  const options = [
    false,
    true,
    { threshold: 0 },
    { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
    { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
    { threshold: 0, serverMaxWindowBits: 10, clientNoContextTakeover: true },
    { threshold: 0, clientMaxWindowBits: 15, serverNoContextTakeover: true },
    { threshold: 100, zlibDeflateOptions: { level: 9 } },
  ];
  for (const [number, option] of options.entries()) {
    const said = [10, 1000, 6000].map((words) =>
      alice.event(LongFormArticle, `${number} ${prose(words)}`, [["d", `${number} ${words}`]]),
    );
    const { heard, extensions } = await ask(option, said, { kinds: [ShortTextNote] });
    assert.equal(extensions.includes("permessage-deflate"), option !== false, JSON.stringify(option));
    const oks = heard.filter(([verb]) => verb === "OK");
    assert.ok(oks.every(([, , isTaken]) => isTaken), JSON.stringify(oks));
    const events = heard.filter(([verb]) => verb === "EVENT").map(([, , event]) => event);
    assert.deepEqual(
      events.map((event) => [event.id, event.content]),
      stored.map((event) => [event.id, event.content]),
      JSON.stringify(option),
    );
    const back = await alice.find({ kinds: [LongFormArticle], "#d": said.map((event) => event.tags[0][1]) });
    assert.deepEqual(back.map((event) => event.content).sort(), said.map((event) => event.content).sort());
  }
});
