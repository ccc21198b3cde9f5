// Deletion requests (NIP-09): the note is gone for everybody and may not come back; others cannot ask for it.
import assert from "node:assert/strict";
import { EventDeletion, ShortTextNote } from "nostr-tools/kinds";
import { ids, scene } from "../guest.js";

await scene(2, async (alice, bob) => {
  const kept = await alice.publish(ShortTextNote, "stays");
  const gone = await alice.publish(ShortTextNote, "goes");
  const feed = await bob.listen({ kinds: [EventDeletion], "#e": [gone.id] });

  await bob.publish(EventDeletion, "I do not like it", [["e", gone.id], ["k", "1"]]);
  assert.equal((await feed.next()).pubkey, bob.key);
  assert.deepEqual(ids(await bob.find({ ids: [gone.id] })), [gone.id]);

  const request = await alice.publish(EventDeletion, "typed in haste", [["e", gone.id], ["k", "1"]]);
  assert.equal((await feed.next()).id, request.id);
  assert.deepEqual(ids(await bob.find({ kinds: [ShortTextNote], authors: [alice.key] })), [kept.id]);
  assert.deepEqual(await bob.find({ ids: [gone.id] }), []);
  await assert.rejects(bob.publish(gone), /^Error: blocked: /);
  // The request itself stays, for those who still hold the note.
  assert.deepEqual(ids(await bob.find({ ids: [request.id] })), [request.id]);
});
