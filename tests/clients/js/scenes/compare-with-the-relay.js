// Reconciliation (NIP-77): a client that kept some events finds out what it and the relay do not both have.
import assert from "node:assert/strict";
import { nip77 } from "nostr-tools";
import { ShortTextNote } from "nostr-tools/kinds";
import { ids, scene, secondsAgo } from "../guest.js";

/** What a client with these events finds out: [ids that only it has, ids that only the relay has]. */
const compare = (guest, filter, events) =>
  new Promise((resolve, reject) => {
    const storage = new nip77.NegentropyStorageVector();
    events.forEach((event) => storage.insert(event.created_at, event.id));
    storage.seal();
    const [have, need] = [[], []];
    const sync = new nip77.NegentropySync(guest.relay, storage, filter, {
      onhave: (id) => have.push(id),
      onneed: (id) => need.push(id),
      onclose: (error) => (error ? reject(new Error(error)) : resolve([have.sort(), need.sort()])),
    });
    sync.start();
  });

await scene(1, async (alice) => {
  const note = (number) => alice.event(ShortTextNote, `note ${number}`, [], secondsAgo(10_000 - (number >> 2)));
  const notes = Array.from({ length: 500 }, (_, number) => note(number));
  await Promise.all(notes.map((event) => alice.publish(event)));
  const own = [note(501), note(502)];
  const filter = { kinds: [ShortTextNote] };

  assert.deepEqual(await compare(alice, filter, notes), [[], []]);
  assert.deepEqual(await compare(alice, filter, []), [[], ids(notes).sort()]);
  const some = notes.filter((_, number) => number % 100 !== 7);
  const missing = notes.filter((_, number) => number % 100 === 7);
  assert.deepEqual(await compare(alice, filter, [...some, ...own]), [ids(own).sort(), ids(missing).sort()]);
});
