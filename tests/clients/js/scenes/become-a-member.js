/* relay.toml
[nip43]
enabled = true
[access]
write = "members"
[admin]
owners = ["79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"]
[authors]
members = ["79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"]
*/
// Membership by invitation (NIP-43): a member asks for a code, a stranger joins with it, writes, and leaves.
import assert from "node:assert/strict";
import { ShortTextNote } from "nostr-tools/kinds";
import { getPublicKey } from "nostr-tools/pure";
import { ids, scene } from "../guest.js";

const MEMBERS = 13534;
const JOIN = 28934;
const INVITE = 28935;
const LEAVE = 28936;

await scene(2, async (member, stranger) => {
  // The member of the settings is who has the secret key 1.
  member.secret = new Uint8Array(32);
  member.secret[31] = 1;
  member.key = getPublicKey(member.secret);
  await member.prove();

  await assert.rejects(stranger.publish(ShortTextNote, "hello"), /^Error: restricted: only members write here/);
  const [invitation] = await member.find({ kinds: [INVITE] });
  const [, code] = invitation.tags.find(([name]) => name === "claim");

  await stranger.prove();
  await assert.rejects(stranger.publish(JOIN, "", [["-"], ["claim", "guess"]]), /^Error: restricted: /);
  const words = await stranger.relay.publish(stranger.event(JOIN, "", [["-"], ["claim", code]]));
  assert.match(words, /^info: welcome to /);
  const note = await stranger.publish(ShortTextNote, "hello");
  assert.deepEqual(ids(await member.find({ kinds: [ShortTextNote] })), [note.id]);
  const members = async () => (await member.find({ kinds: [MEMBERS] }))[0].tags.filter(([name]) => name === "member");
  assert.deepEqual((await members()).map(([, key]) => key).sort(), [member.key, stranger.key].sort());

  assert.match(await stranger.relay.publish(stranger.event(LEAVE, "", [["-"]])), /^info: /);
  assert.deepEqual((await members()).map(([, key]) => key), [member.key]);
  await assert.rejects(stranger.publish(ShortTextNote, "bye"), /^Error: restricted: /);
});
