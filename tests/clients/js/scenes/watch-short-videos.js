/* relay.toml
[[community]]
path = "/loops"
preset = "video"
[community.media]
videos_checked = true
imeta_checked = true
imeta_fields_required = ["m", "x", "dim"]
hosts_allowed = ["cdn.example"]
duration_seconds_max_by_kind = { "22,34236" = 6 }
content_warning = "refused"
*/
// A short-video community (NIP-71, NIP-92): a creator posts loops and edits one, viewers scroll, like, comment
// and repost, and what does not belong is refused with a reason.
import assert from "node:assert/strict";
import { EventDeletion, GenericRepost, Reaction } from "nostr-tools/kinds";
import { ids, scene, secondsAgo } from "../guest.js";

const SHORT = 34236;
const COMMENT = 1111;

await scene(3, async (creator, viewer, troll) => {
  const video = (slug, changes = {}) => {
    const fields = {
      url: `https://cdn.example/${slug}.mp4`,
      m: "video/mp4",
      x: "ab".repeat(32),
      dim: "480x480",
      duration: "6",
      image: `https://cdn.example/${slug}.jpg`,
      ...changes.fields,
    };
    const imeta = ["imeta", ...Object.entries(fields).filter(([, value]) => value).map((pair) => pair.join(" "))];
    return [["d", slug], ["title", changes.title ?? `Loop ${slug}`], imeta, ["t", "loops"], ...(changes.tags ?? [])];
  };
  const refused = (guest, tags, reason) => assert.rejects(guest.publish(SHORT, "", tags), reason);

  const feed = await viewer.listen({ kinds: [SHORT, 22], "#t": ["loops"] });
  const first = await creator.publish(SHORT, "a cat", video("cat"), secondsAgo(30));
  const second = await creator.publish(SHORT, "a dog", video("dog"), secondsAgo(20));
  assert.deepEqual([(await feed.next()).id, (await feed.next()).id], [first.id, second.id]);

  // What the rules of the place refuse, with what would be right.
  await refused(troll, video("x", { fields: { duration: "7" } }), /the video lasts 7 seconds/);
  await refused(troll, video("x", { fields: { x: "" } }), /needs the field x \(media\.imeta\)/);
  await refused(troll, video("x", { fields: { url: "https://evil.example/x.mp4" } }), /media on evil\.example/);
  await refused(troll, video("x", { title: " " }), /needs a title tag/);
  await refused(troll, video("x", { tags: [["content-warning", "gore"]] }), /needs a content warning is not taken/);
  await assert.rejects(troll.publish(4444, "not about videos"), /events of kind 4444 are not taken here/);

  // An edited loop takes the place of the first version, for readers of now and of later.
  const edited = await creator.publish(SHORT, "a cat, slower", video("cat", { title: "Slow cat" }), secondsAgo(10));
  assert.equal((await feed.next()).id, edited.id);
  const [newest, ...older] = await viewer.find({ kinds: [SHORT], authors: [creator.key] });
  assert.equal(newest.tags.find(([name]) => name === "title")[1], "Slow cat");
  assert.deepEqual(ids(older), [second.id]);

  const address = `${SHORT}:${creator.key}:cat`;
  const about = [["a", address], ["e", edited.id], ["p", creator.key], ["k", String(SHORT)]];
  const like = await viewer.publish(Reaction, "❤️", about);
  const comment = await viewer.publish(COMMENT, "again!", [["A", address], ["K", String(SHORT)], ...about]);
  const repost = await viewer.publish(GenericRepost, JSON.stringify(edited), about);
  assert.deepEqual(ids(await creator.find({ "#A": [address] })), [comment.id]);
  assert.deepEqual(ids(await creator.find({ kinds: [Reaction], "#a": [address] })), [like.id]);
  assert.deepEqual(ids(await creator.find({ kinds: [GenericRepost], "#e": [edited.id] })), [repost.id]);
  assert.equal(await creator.relay.count([{ kinds: [Reaction, COMMENT, GenericRepost], "#p": [creator.key] }], {}), 3);

  await creator.publish(EventDeletion, "", [["a", address]]);
  assert.deepEqual(ids(await viewer.find({ kinds: [SHORT] })), [second.id]);
});
