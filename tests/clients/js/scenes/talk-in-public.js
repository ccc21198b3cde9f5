// Notes, replies (NIP-10) and reactions (NIP-25): read back by others, and followed live.
import assert from "node:assert/strict";
import { Reaction, ShortTextNote } from "nostr-tools/kinds";
import { parse } from "nostr-tools/nip10";
import { finishReactionEvent, getReactedEventPointer } from "nostr-tools/nip25";
import { ids, scene, secondsAgo } from "../guest.js";

await scene(3, async (alice, bob, carol) => {
  const feed = await carol.listen({ kinds: [ShortTextNote], authors: [alice.key, bob.key] });
  assert.deepEqual(feed.stored, []);

  const note = await alice.publish(ShortTextNote, 'Guten Morgen 🌅 "Plaza"\n\t\\ \u0001\u2028 ﷽', [["t", "gm"]]);
  assert.deepEqual(ids([await feed.next()]), [note.id]);
  const reply = await bob.publish(ShortTextNote, "Morgen!", [["e", note.id, "", "root"], ["p", alice.key]]);
  const answer = await alice.publish(ShortTextNote, "How are you?", [
    ["e", note.id, "", "root"],
    ["e", reply.id, "", "reply"],
    ["p", bob.key],
  ]);
  assert.deepEqual(ids([await feed.next(), await feed.next()]), [reply.id, answer.id]);

  const [read] = await carol.find({ ids: [note.id] });
  assert.equal(read.content, note.content);
  const thread = await carol.find({ kinds: [ShortTextNote], "#e": [note.id] });
  assert.deepEqual(ids(thread).sort(), [reply.id, answer.id].sort());
  const last = thread.find((event) => event.id === answer.id);
  assert.equal(parse(last).reply.id, reply.id);
  assert.equal(parse(last).root.id, note.id);

  const like = finishReactionEvent({ content: "🤙", created_at: secondsAgo(0) }, note, bob.secret);
  await bob.publish(like);
  const [liked] = await carol.find({ kinds: [Reaction], "#e": [note.id], "#p": [alice.key] });
  assert.equal(getReactedEventPointer(liked).id, note.id);
  assert.equal(await carol.relay.count([{ kinds: [Reaction], "#e": [note.id] }], {}), 1);
});
