/* relay.toml
[nip29]
enabled = true
create = "all"
*/
// A group that the relay manages (NIP-29), by the library's own functions: an admin makes it, lets people in and removes
// them; members talk; a stranger stays outside.
import assert from "node:assert/strict";
import * as nip29 from "nostr-tools/nip29";
import { fetchRelayInformation } from "nostr-tools/nip11";
import { ids, scene, SimplePool, url } from "../guest.js";

const CHAT = 9;
const PUT_USER = 9000;
const REMOVE_USER = 9001;

await scene(4, async (admin, member, friend, stranger) => {
  /** Publishes what the library makes. */
  const send = async (guest, template) => guest.publish(await guest.sign(template));
  const say = (guest, text, previous = []) =>
    guest.publish(CHAT, text, [["h", "square"], ...(previous.length ? [["previous", ...previous]] : [])]);

  await send(admin, nip29.generateCreateGroupEventTemplate("square"));
  const metadata = {
    id: "square",
    name: "Square",
    about: "for neighbours",
    isPrivate: true,
    isClosed: true,
    isRestricted: true,
  };
  await send(admin, nip29.generateEditGroupMetadataEventTemplate({ metadata }, "so it is"));
  await send(admin, nip29.generatePutUserEventTemplate("square", member.key, ["moderator"]));

  // The library believes what is signed by the key that the relay names as its own.
  // It looks for that key where the operator's was in earlier texts of NIP-29.
  const information = await fetchRelayInformation(url);
  const relayInformation = { ...information, pubkey: information.self };
  assert.match(relayInformation.self, /^[0-9a-f]{64}$/);
  assert.ok(relayInformation.supported_nips.includes(29));
  const pool = new SimplePool();
  const groupReference = { id: "square", host: url.replace("ws://", "") };
  const load = () => nip29.loadGroup({ pool, groupReference, normalizedRelayURL: url, relayInformation });
  const group = await load();
  assert.equal(group.metadata.pubkey, relayInformation.self);
  const { id, name, about, isPrivate, isClosed, isRestricted, isHidden } = group.metadata;
  assert.deepEqual([id, name, about], ["square", "Square", "for neighbours"]);
  assert.deepEqual([isPrivate, isClosed, isRestricted, isHidden], [true, true, true, undefined]);
  const keys = (people) => people.map((each) => each.pubkey).sort();
  assert.deepEqual(keys(group.admins), [admin.key, member.key].sort());
  assert.deepEqual(keys(group.members), [admin.key, member.key].sort());
  const known = { groupReference, pool, normalizedRelayURL: url, relayInformation };
  const roles = nip29.parseGroupRolesEvent(await nip29.fetchGroupRolesEvent(known));
  assert.deepEqual(roles.map((role) => role.name), ["admin", "moderator"]);

  // A member who has logged in hears what is said; a stranger neither reads nor writes.
  await member.prove();
  const feed = await member.listen({ kinds: [CHAT], "#h": ["square"] });
  const hello = await say(admin, "hello");
  assert.equal((await feed.next()).id, hello.id);
  await assert.rejects(stranger.find({ "#h": ["square"] }), /auth-required: /);
  await stranger.prove();
  await assert.rejects(stranger.find({ "#h": ["square"] }), /restricted: /);
  assert.deepEqual(await stranger.find({ kinds: [CHAT] }), []);
  await assert.rejects(say(stranger, "let me in"), /^Error: restricted: /);
  const join = (guest, code) => send(guest, nip29.generateGroupJoinRequestEventTemplate("square", code));
  await assert.rejects(join(stranger), /^Error: restricted: this group is closed/);
  await assert.rejects(
    send(stranger, nip29.generateCreateInviteEventTemplate("square", "mine")),
    /^Error: restricted: /,
  );

  // Who has a code joins; what they say refers to what was said before.
  await send(member, nip29.generateCreateInviteEventTemplate("square", "sesame"));
  await join(friend, "sesame");
  await assert.rejects(
    send(friend, nip29.generateGroupJoinRequestEventTemplate("square", undefined, "again")),
    /^Error: duplicate: /,
  );
  const answer = await say(friend, "here I am", [hello.id.slice(0, 8)]);
  assert.equal((await feed.next()).id, answer.id);
  await assert.rejects(say(friend, "from elsewhere", ["00000000"]), /^Error: invalid: previous/);

  // What is pinned is told; what a moderator removes is gone.
  await send(admin, nip29.generateUpdatePinListEventTemplate("square", [{ type: "e", value: hello.id }]));
  const pins = nip29.parseGroupPinnedEventsEvent(await nip29.fetchGroupPinnedEventsEvent(known));
  assert.deepEqual(pins.map((pin) => pin.value), [hello.id]);
  await send(member, nip29.generateDeleteEventEventTemplate("square", answer.id));
  assert.deepEqual(ids(await member.find({ kinds: [CHAT], "#h": ["square"] })), [hello.id]);

  // Who is removed is out at once, and learns it.
  const removal = await send(admin, nip29.generateRemoveUserEventTemplate("square", friend.key, "enough"));
  await friend.prove();
  const told = await friend.find({ kinds: [PUT_USER, REMOVE_USER], "#p": [friend.key] });
  assert.ok(ids(told).includes(removal.id));
  await assert.rejects(say(friend, "?"), /^Error: restricted: /);
  await assert.rejects(friend.find({ "#h": ["square"] }), /restricted: /);

  await send(member, nip29.generateGroupLeaveRequestEventTemplate("square"));
  assert.deepEqual(keys((await load()).members), [admin.key]);
  await send(admin, nip29.generateDeleteGroupEventTemplate("square"));
  assert.deepEqual(await admin.find({ kinds: [39000], "#d": ["square"] }), []);
  pool.destroy();
});
