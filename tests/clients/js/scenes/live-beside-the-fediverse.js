/* relay.toml
[[community]]
path = "/bridged"
preset = "bridge"
[community.bridge]
protocols_allowed = ["activitypub", "atproto"]
domains_hidden = ["loud.example"]
[community.blocklist]
files = ["tests/clients/lists/fediverse.csv"]
*/
// A community with a bridge to the fediverse (NIP-48): bridged posts come in with their origin, a shared
// blocklist keeps some origins out and others quiet, and who follows a quiet one still reads it.
import assert from "node:assert/strict";
import { Contacts, ShortTextNote } from "nostr-tools/kinds";
import { ids, scene, secondsAgo } from "../guest.js";

await scene(4, async (bridge, alice, bob, spammer) => {
  let minutes = 60;
  const carry = (origin, protocol = "activitypub", guest = bridge) => {
    const tags = origin ? [["proxy", origin, protocol]] : [];
    return guest.publish(ShortTextNote, `from ${origin}`, tags, secondsAgo((minutes -= 1) * 60));
  };
  const feed = await alice.listen({ kinds: [ShortTextNote] });
  const own = await carry(undefined, undefined, alice);
  const kind = await carry("https://kind.example/@ann/1");
  const sky = await carry("at://did:plc:z72i7hdynmk6r22z27h6tvur/app.bsky.feed.post/3k", "atproto");
  for (const event of [own, kind, sky]) assert.equal((await feed.next()).id, event.id);

  // What the list suspends, and protocols that are not bridged here, stay out; with a reason and the rule's name.
  for (const origin of ["https://evil.example/@x/1", "https://www.evil.example/@x/2"]) {
    await assert.rejects(carry(origin), /^Error: blocked: .*\(blocklist\.[a-z0-9_]+\)$/);
  }
  await assert.rejects(carry("https://blog.example/feed#1", "rss"), /^Error: blocked: .*\(bridge\.[a-z0-9_]+\)$/);
  await carry("https://notevil.example/@x/1");
  const link = spammer.publish(ShortTextNote, "look at https://evil.example/win");
  await assert.rejects(link, /^Error: blocked: .*\(blocklist\.[a-z0-9_]+\)$/);

  // What it silences, and what the community keeps quiet itself, is stored, and read by who follows its author.
  const silenced = await carry("https://noisy.example/@y/1");
  const hidden = await carry("https://loud.example/@z/1");
  const quiet = (events) => ids(events).filter((id) => [silenced.id, hidden.id].includes(id)).sort();
  const everything = { kinds: [ShortTextNote] };
  assert.deepEqual(quiet(await bob.find(everything)), []);
  assert.equal(await bob.relay.count([everything], {}), (await bob.find(everything)).length);
  // To name the author is to ask for what the community keeps quiet; what a list silences takes more.
  assert.deepEqual(quiet(await bob.find({ ...everything, authors: [bridge.key] })), [hidden.id]);
  await bob.publish(Contacts, "", [["p", bridge.key]]);
  await bob.prove();
  // The relay learns of a new follow list in the background.
  let found = [];
  for (let round = 0; found.length < 2 && round < 100; round += 1) {
    found = quiet(await bob.find(everything));
    if (found.length < 2) await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual(found, [silenced.id, hidden.id].sort());
  assert.deepEqual(quiet(await alice.find(everything)), [], "alice follows nobody");
});
