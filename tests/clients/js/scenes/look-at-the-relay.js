// The relay information document (NIP-11), as a client reads it before it connects, and from another website.
import assert from "node:assert/strict";
import { fetchRelayInformation } from "nostr-tools/nip11";
import { scene, url } from "../guest.js";

const about = await fetchRelayInformation(url);
assert.equal(about.name, "Plaza");
for (const nip of [1, 9, 11, 40, 42, 45, 59, 70]) {
  assert.ok(about.supported_nips.includes(nip), `NIP-${nip} in ${about.supported_nips}`);
}
assert.equal(about.limitation.auth_required, false);

const answer = await fetch(url.replace("ws:", "http:"), { headers: { accept: "application/nostr+json" } });
assert.equal(answer.headers.get("content-type"), "application/nostr+json");
assert.equal(answer.headers.get("access-control-allow-origin"), "*");

// What it says of its limits is so.
await scene(1, async (alice) => {
  const longest = about.limitation.max_content_length;
  await alice.publish(1, "x".repeat(longest));
  await assert.rejects(alice.publish(1, "x".repeat(longest + 1)), /^Error: invalid: /);
  await alice.listen({ kinds: [1], limit: 1 });
});
