// What most web clients do: one SimplePool that publishes and follows, while events pass by unstored too.
import assert from "node:assert/strict";
import { ShortTextNote } from "nostr-tools/kinds";
import { Guest, ids, PATIENCE_MS, scene, secondsAgo, SimplePool, url } from "../guest.js";

const TYPING = 20_001;

await scene(1, async (bob) => {
  const alice = new Guest();
  const pool = new SimplePool();
  const before = alice.event(ShortTextNote, "before", [], secondsAgo(10));
  await Promise.all(pool.publish([url], before));

  const seen = [];
  let live;
  const isLive = new Promise((resolve) => (live = resolve));
  let enough;
  const isEnough = new Promise((resolve, reject) => {
    enough = resolve;
    setTimeout(() => reject(new Error("nothing came")), PATIENCE_MS).unref();
  });
  const closer = pool.subscribe([url], { authors: [alice.key, bob.key] }, {
    maxWait: PATIENCE_MS,
    onevent: (event) => seen.push(event) === 4 && enough(),
    oneose: live,
  });
  await isLive;
  assert.deepEqual(ids(seen), [before.id]);
  const note = alice.event(ShortTextNote, "now");
  await Promise.all(pool.publish([url], note));
  const typing = await bob.publish(TYPING, "");
  const answer = await bob.publish(ShortTextNote, "hello");
  await isEnough;
  assert.deepEqual(ids(seen), ids([before, note, typing, answer]));
  await closer.close();
  assert.deepEqual(await bob.find({ kinds: [TYPING] }), [], "ephemeral events are not stored");

  // Twice the same is no mistake.
  const [said] = await Promise.all(pool.publish([url], note));
  assert.match(said, /^(duplicate: .*)?$/);
  // A forged event is.
  const forged = { ...alice.event(ShortTextNote, "said"), content: "never said" };
  await assert.rejects(Promise.all(pool.publish([url], forged)), /invalid: /);
  pool.destroy();
});
