// Profiles, follow lists (NIP-02) and relay lists (NIP-65): the newest of each is kept, and only that.
import assert from "node:assert/strict";
import { Contacts, Metadata, RelayList } from "nostr-tools/kinds";
import { generateSecretKey, getPublicKey } from "nostr-tools/pure";
import { ids, scene, secondsAgo, SimplePool, url } from "../guest.js";

await scene(2, async (alice, bob) => {
  await alice.publish(Metadata, JSON.stringify({ name: "alice" }), [], secondsAgo(20));
  const profile = await alice.publish(Metadata, JSON.stringify({ name: "Alice 🌻" }), [], secondsAgo(10));
  const found = await bob.find({ kinds: [Metadata], authors: [alice.key] });
  assert.deepEqual(ids(found), [profile.id]);
  assert.equal(JSON.parse(found[0].content).name, "Alice 🌻");

  const crowd = Array.from({ length: 300 }, () => ["p", getPublicKey(generateSecretKey())]);
  const follows = await alice.publish(Contacts, "", [...crowd, ["p", bob.key]]);
  assert.deepEqual(ids(await bob.find({ kinds: [Contacts], "#p": [bob.key] })), [follows.id]);
  const fewer = await alice.publish(Contacts, "", crowd, secondsAgo(-1));
  assert.deepEqual(await bob.find({ kinds: [Contacts], "#p": [bob.key] }), []);
  const relays = await alice.publish(RelayList, "", [["r", "wss://relay.example.org", "read"]]);

  const pool = new SimplePool();
  const all = await pool.querySync([url], { kinds: [Metadata, Contacts, RelayList], authors: [alice.key] });
  assert.deepEqual(ids(all).sort(), ids([profile, fewer, relays]).sort());
  assert.equal((await pool.get([url], { kinds: [RelayList], authors: [alice.key] })).id, relays.id);
  pool.destroy();
});
