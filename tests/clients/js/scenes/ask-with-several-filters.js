// Requests with several filters: each event once, the newest first, limits and pages, and COUNT (NIP-45).
import assert from "node:assert/strict";
import { Reaction, ShortTextNote } from "nostr-tools/kinds";
import { ids, scene, secondsAgo } from "../guest.js";

await scene(2, async (alice, bob) => {
  const notes = Array.from({ length: 30 }, (_, number) =>
    alice.event(ShortTextNote, `note ${number}`, [["t", number % 2 ? "odd" : "even"]], secondsAgo(100 - number)),
  );
  // All at once: each gets its own answer.
  await Promise.all(notes.map((note) => alice.publish(note)));
  notes.reverse();
  const like = await bob.publish(Reaction, "+", [["e", notes[0].id], ["p", alice.key]]);

  assert.deepEqual(ids(await bob.find({ kinds: [ShortTextNote], limit: 7 })), ids(notes.slice(0, 7)));
  const page = { kinds: [ShortTextNote], until: notes[7].created_at, limit: 7 };
  assert.deepEqual(ids(await bob.find(page)), ids(notes.slice(7, 14)));
  const middle = { authors: [alice.key], since: notes[9].created_at, until: notes[5].created_at };
  assert.deepEqual(ids(await bob.find(middle)), ids(notes.slice(5, 10)));
  assert.deepEqual(await bob.find({ kinds: [ShortTextNote], limit: 0 }), []);

  const overlapping = [
    { authors: [alice.key], limit: 10 },
    { kinds: [ShortTextNote], "#t": ["even"], limit: 5 },
    { kinds: [Reaction], "#p": [alice.key] },
  ];
  const feed = await bob.listen(...overlapping);
  assert.deepEqual(ids(feed.stored), [like.id, ...ids(notes.slice(0, 10))]);
  const both = await alice.publish(ShortTextNote, "both", [["t", "even"]]);
  const after = await alice.publish(ShortTextNote, "after");
  assert.deepEqual(ids([await feed.next(), await feed.next()]), [both.id, after.id]);

  assert.equal(await bob.relay.count([{ "#t": ["odd"] }], {}), 15);
  assert.equal(await bob.relay.count([{ "#t": ["odd", "even"] }, { "#t": ["odd"] }], {}), 31);
});
