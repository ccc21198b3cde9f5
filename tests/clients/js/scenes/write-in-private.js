// Private messages (NIP-17, gift wraps of NIP-59) after authentication (NIP-42), and notes to oneself (NIP-44).
import assert from "node:assert/strict";
import { Application, EventDeletion, GiftWrap, ShortTextNote } from "nostr-tools/kinds";
import * as nip17 from "nostr-tools/nip17";
import * as nip44 from "nostr-tools/nip44";
import { ids, PATIENCE_MS, scene, SimplePool, url } from "../guest.js";

await scene(4, async (alice, bob, eve, stranger) => {
  const forBob = { kinds: [GiftWrap], "#p": [bob.key] };
  await assert.rejects(stranger.find(forBob), /^Error: auth-required: /);
  await assert.rejects(bob.find(forBob), /^Error: auth-required: /);
  await bob.prove();
  await eve.prove();
  const inbox = await bob.listen(forBob);
  const keyhole = await eve.listen(forBob, { kinds: [ShortTextNote] });
  const window = await stranger.listen({ "#p": [bob.key] }, { kinds: [ShortTextNote] });

  const wraps = nip17.wrapManyEvents(alice.secret, [{ publicKey: bob.key }], "meet at the fountain", "Plaza");
  assert.equal(wraps.length, 2, "one for bob, one for alice herself");
  for (const wrap of wraps) await alice.publish(wrap);
  const wrap = await inbox.next();
  const message = nip17.unwrapEvent(wrap, bob.secret);
  assert.deepEqual([message.pubkey, message.content], [alice.key, "meet at the fountain"]);

  // What comes after the wraps is the first that others hear.
  const note = await alice.publish(ShortTextNote, "hello everybody");
  assert.equal((await keyhole.next()).id, note.id);
  assert.equal((await window.next()).id, note.id);
  for (const other of [eve, stranger]) {
    assert.deepEqual(await other.find({ ids: [wrap.id] }), []);
    assert.equal(await other.relay.count([{ "#p": [bob.key] }], {}), 0);
  }

  // Somebody who comes later is asked for the key by the relay, and their client answers.
  const pool = new SimplePool();
  const stored = await new Promise((resolve, reject) => {
    const found = [];
    pool.subscribe([url], forBob, {
      maxWait: PATIENCE_MS,
      onauth: bob.sign,
      onevent: (event) => found.push(event),
      oneose: () => resolve(found),
      onclose: (reasons) => reject(new Error(JSON.stringify(reasons))),
    });
  });
  assert.deepEqual(ids(stored), [wrap.id]);
  pool.destroy();

  // Bob may delete what was sent to him, although its author's key is gone.
  await bob.publish(EventDeletion, "", [["e", wrap.id], ["k", String(GiftWrap)]]);
  assert.deepEqual(await bob.find(forBob), []);

  const toSelf = nip44.getConversationKey(alice.secret, alice.key);
  await alice.publish(Application, nip44.encrypt("buy bread", toSelf), [["d", "shopping"]]);
  const [list] = await stranger.find({ kinds: [Application], authors: [alice.key] });
  assert.equal(nip44.decrypt(list.content, toSelf), "buy bread");
});
