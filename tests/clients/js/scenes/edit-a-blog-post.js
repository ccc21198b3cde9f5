// Long-form posts (NIP-23): a newer version takes the older one's place, under the same address.
import assert from "node:assert/strict";
import { EventDeletion, LongFormArticle } from "nostr-tools/kinds";
import { decode, naddrEncode } from "nostr-tools/nip19";
import { ids, scene, secondsAgo, url } from "../guest.js";

await scene(2, async (alice, bob) => {
  const tags = (slug) => [["d", slug], ["title", "A walk"], ["t", "walking"]];
  const feed = await bob.listen({ kinds: [LongFormArticle], "#t": ["walking"] });
  const draft = await alice.publish(LongFormArticle, "# A wlak", tags("walk"), secondsAgo(30));
  const swim = await alice.publish(LongFormArticle, "# A swim", tags("swim"), secondsAgo(25));
  const post = await alice.publish(LongFormArticle, "# A walk\n\nlong ".repeat(2_000), tags("walk"), secondsAgo(20));
  assert.deepEqual(ids([await feed.next(), await feed.next(), await feed.next()]), ids([draft, swim, post]));

  const { data } = decode(
    naddrEncode({ identifier: "walk", pubkey: alice.key, kind: LongFormArticle, relays: [url] }),
  );
  const address = { kinds: [data.kind], authors: [data.pubkey], "#d": [data.identifier] };
  const found = await bob.find(address);
  assert.deepEqual(ids(found), [post.id]);
  assert.equal(found[0].content, post.content);
  assert.deepEqual(await bob.find({ ids: [draft.id] }), []);
  await assert.rejects(alice.publish(draft), /^Error: duplicate: a newer version is stored/);

  await alice.publish(EventDeletion, "", [["a", `${LongFormArticle}:${alice.key}:walk`]]);
  assert.deepEqual(ids(await bob.find({ kinds: [LongFormArticle], authors: [alice.key] })), [swim.id]);
});
