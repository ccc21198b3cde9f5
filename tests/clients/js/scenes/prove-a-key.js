// Authentication (NIP-42) and protected events (NIP-70): taken from their author alone, once proved.
import assert from "node:assert/strict";
import { ShortTextNote } from "nostr-tools/kinds";
import { makeAuthEvent } from "nostr-tools/nip42";
import { ids, scene, SimplePool, url } from "../guest.js";

await scene(2, async (alice, bob) => {
  const note = alice.event(ShortTextNote, "for this relay", [["-"]]);
  await assert.rejects(alice.publish(note), /^Error: auth-required: /);
  await bob.prove();
  await assert.rejects(bob.publish(note), /^Error: restricted: /);

  // A proof for another relay, or with another challenge, is none.
  const foreign = makeAuthEvent("wss://relay.example.org", alice.relay.challenge);
  await assert.rejects(alice.relay.auth(() => alice.sign(foreign)), /^Error: invalid: .*relay/);
  alice.relay.authPromise = undefined;
  const stale = makeAuthEvent(url, "yesterday's");
  await assert.rejects(alice.relay.auth(() => alice.sign(stale)), /^Error: invalid: .*challenge/);
  alice.relay.authPromise = undefined;
  await assert.rejects(alice.publish(note), /^Error: auth-required: /);

  // A pool signs when it is asked to, and sends the note again.
  const pool = new SimplePool();
  await Promise.all(pool.publish([url], note, { onauth: alice.sign }));
  pool.destroy();
  assert.deepEqual(ids(await bob.find({ authors: [alice.key] })), [note.id]);
  await alice.prove();
  const more = await alice.publish(ShortTextNote, "also for this relay", [["-"]]);
  assert.deepEqual(ids(await bob.find({ ids: [more.id] })), [more.id]);
});
