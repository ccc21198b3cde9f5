/* relay.toml
[[community]]
path = "/berlin-mitte"
preset = "geohash-hub"
[community.geohash]
prefixes = ["u33db", "u33dc"]
precision_min = 6
replies = "own"
prefix_filters = true
replay_seconds = 300
replay_events_max = 10
*/
// A neighbourhood that takes only what belongs to its geohash cells: somebody walks across its border and
// posts on the way, neighbours listen by cell, by prefix and to what is near, and a late comer hears what was
// just said (kind 20000, as bitchat sends it).
import assert from "node:assert/strict";
import { EventDeletion, Metadata, ShortTextNote } from "nostr-tools/kinds";
import { Guest, ids, scene, secondsAgo, Wire } from "../guest.js";

const CHAT = 20000;

await scene(2, async (walker, stranger) => {
  const at = (cell) => [["g", cell]];
  const neighbour = await Wire.open();
  const whole = await neighbour.listen({ kinds: [ShortTextNote], "#g": ["u33db*", "u33dc*"] });
  const corner = await neighbour.listen({ kinds: [ShortTextNote], "#g": ["u33dc1*"] });

  // From the west, over the border, through two cells, and out again in the east.
  const walk = [
    ["u336x8", false],
    ["u33db0", true],
    ["u33dbz", true],
    ["u33dc1", true],
    ["u33dc1qq", true],
    ["u33df2", false],
  ];
  const posted = [];
  for (const [step, [cell, isInside]] of walk.entries()) {
    const post = walker.publish(ShortTextNote, `step ${step}`, at(cell), secondsAgo(60 - step));
    if (isInside) posted.push(await post);
    else await assert.rejects(post, /^Error: (blocked|invalid): .*\(geohash\.[a-z_]+\)$/);
  }
  for (const event of posted) assert.equal((await whole.next()).id, event.id);
  for (const event of posted.slice(2)) assert.equal((await corner.next()).id, event.id);

  // Too coarse a place does not slip in; a ladder of places does, by its fine rung; no place at all does not.
  await assert.rejects(walker.publish(ShortTextNote, "somewhere in Berlin", at("u33d")), /\(geohash\.[a-z_]+\)$/);
  await assert.rejects(walker.publish(ShortTextNote, "somewhere in Mitte", at("u33db")), /\(geohash\.[a-z_]+\)$/);
  await assert.rejects(walker.publish(ShortTextNote, "nowhere"), /\(geohash\.[a-z_]+\)$/);
  const ladder = ["u", "u33", "u33d", "u33dc", "u33dc4", "u33dc4x"].flatMap(at);
  const exact = await walker.publish(ShortTextNote, "here", ladder, secondsAgo(40));
  assert.equal((await whole.next()).id, exact.id);

  // What needs no place: profiles, deletions; and one's own reply to what is here.
  await walker.publish(Metadata, JSON.stringify({ name: "walker" }));
  const reply = [["e", exact.id, "", "root"], ["p", walker.key]];
  await walker.publish(ShortTextNote, "and one more thing", reply);
  await assert.rejects(stranger.publish(ShortTextNote, "from afar", reply), /\(geohash\.[a-z_]+\)$/);

  // Stored, counted and live answers agree for each form of asking.
  const notes = (values) => ({ kinds: [ShortTextNote], "#g": values });
  const inOrder = ids([...posted, exact]).reverse();
  for (const [values, found] of [
    [["u33dc1"], [posted[2].id]],
    [["u33dc1*"], [posted[3].id, posted[2].id]],
    [["~u33dc1"], [exact.id, posted[3].id, posted[2].id]],
    [["u33*"], inOrder],
    [["u336*"], []],
  ]) {
    const events = ids(await neighbour.find(notes(values)));
    assert.deepEqual(events.sort(), [...found].sort(), String(values));
    assert.equal(await stranger.relay.count([notes(values)], {}), found.length, String(values));
  }
  await assert.rejects(neighbour.find(notes(["u33a*"])), /^Error: invalid: .*\(geohash\.filter\)$/);
  await walker.publish(EventDeletion, "", [["e", exact.id]]);
  assert.equal(await stranger.relay.count([notes(["u33*"])], {}), posted.length);

  // A chat of moments, for those who are here and for who comes a little later.
  const said = await walker.publish(CHAT, "rain is coming", [["g", "u33dc1"], ["n", "walker"]]);
  await assert.rejects(walker.publish(CHAT, "hello?", at("u281z7")), /\(geohash\.[a-z_]+\)$/);
  const late = await Guest.arrive();
  const heard = await late.listen({ kinds: [CHAT], "#g": ["u33dc1"] });
  assert.deepEqual(ids(heard.stored), [said.id]);
  const next = await walker.publish(CHAT, "told you", [["g", "u33dc1"], ["n", "walker"]]);
  assert.equal((await heard.next()).id, next.id);
  assert.equal(await late.relay.count([{ kinds: [CHAT] }], {}), 0, "moments are not stored");
  late.leave();
  neighbour.leave();
});
