/* relay.toml
[[community]]
path = "/market"
preset = "marketplace"
[community.market]
currencies = ["sat", "EUR"]
categories = ["honey", "wool"]
listings_per_author_max = 3
images_max = 2
*/
// A market (NIP-15, NIP-99): a stall with products and an auction, bids and their confirmation, a classified
// listing, a search across merchants, and a private order (NIP-17).
import assert from "node:assert/strict";
import { GiftWrap } from "nostr-tools/kinds";
import * as nip17 from "nostr-tools/nip17";
import { ids, scene, secondsAgo } from "../guest.js";

const [STALL, PRODUCT, AUCTION, BID, CONFIRMATION, LISTING] = [30017, 30018, 30020, 1021, 1022, 30402];

await scene(4, async (anna, ben, cleo, dan) => {
  const stall = (id) =>
    JSON.stringify({ id, name: "Bees", currency: "sat", shipping: [{ id: "eu", name: "Europe", cost: 500, regions: ["EU"] }] });
  const product = (id, stall_id, changes = {}) =>
    JSON.stringify({
      id,
      stall_id,
      name: "Linden honey",
      images: ["https://a.example/honey.jpg"],
      currency: "sat",
      price: 4000,
      quantity: 12,
      specs: [["weight", "500 g"]],
      shipping: [{ id: "eu", cost: 100 }],
      ...changes,
    });
  const honey = [["t", "honey"]];

  // A product needs its stall, and its author's own.
  const early = anna.publish(PRODUCT, product("h1", "bees"), [["d", "h1"], ...honey]);
  await assert.rejects(early, /stall/);
  await anna.publish(STALL, stall("bees"), [["d", "bees"]], secondsAgo(50));
  const jar = await anna.publish(PRODUCT, product("h1", "bees"), [["d", "h1"], ...honey], secondsAgo(40));
  await assert.rejects(ben.publish(PRODUCT, product("h1", "bees"), [["d", "h1"], ...honey]), /stall/);
  await assert.rejects(ben.publish(STALL, stall("bees"), [["d", "other"]]), /^Error: invalid: /);
  const wrong = (changes) => anna.publish(PRODUCT, product("h9", "bees", changes), [["d", "h9"], ...honey]);
  await assert.rejects(wrong({ price: -1 }), /price/);
  await assert.rejects(wrong({ quantity: 1.5 }), /quantity/);
  await assert.rejects(wrong({ shipping: [{ id: "mars", cost: 1 }] }), /mars/);
  await assert.rejects(wrong({ currency: "USD" }), /USD/i);
  await assert.rejects(anna.publish(PRODUCT, product("h9", "bees"), [["d", "h9"], ["t", "weapons"]]), /honey/);

  // An auction: each bid above the one before it.
  const auctioned = JSON.stringify({
    id: "a1",
    stall_id: "bees",
    name: "A swarm",
    starting_bid: 1000,
    start_date: secondsAgo(60),
    duration: 3600,
    shipping: [],
  });
  const auction = await anna.publish(AUCTION, auctioned, [["d", "a1"], ...honey], secondsAgo(30));
  const bid = (guest, amount) => guest.publish(BID, String(amount), [["e", auction.id]]);
  const bids = await anna.listen({ kinds: [BID], "#e": [auction.id] });
  await assert.rejects(bid(ben, 999), /1000|1,000/);
  await assert.rejects(bid(ben, "1000.5"), /whole number/);
  const low = await bid(ben, 1000);
  await assert.rejects(bid(cleo, 1000), /1000|1,000/);
  const high = await bid(cleo, 1500);
  assert.deepEqual([(await bids.next()).id, (await bids.next()).id], [low.id, high.id]);
  const changed = anna.publish(AUCTION, auctioned.replace("swarm", "queen"), [["d", "a1"], ...honey]);
  await assert.rejects(changed, /bid/);
  const confirmation = JSON.stringify({ status: "accepted", message: "thank you", duration_extended: 60 });
  const confirms = [["e", high.id], ["e", auction.id]];
  await assert.rejects(ben.publish(CONFIRMATION, confirmation, confirms), /merchant/);
  const confirmed = await anna.publish(CONFIRMATION, confirmation, confirms);
  assert.deepEqual(ids(await cleo.find({ kinds: [CONFIRMATION], "#e": [high.id] })), [confirmed.id]);

  // A classified listing beside it, and a search by tag across merchants.
  const listing = (d, price, created_at) =>
    dan.publish(LISTING, "Well kept", [["d", d], ["title", d], ["price", ...price], ["t", "wool"], ["status", "active"]], created_at);
  const scarf = await listing("scarf", ["25.50", "EUR"], secondsAgo(20));
  await assert.rejects(listing("hat", ["cheap", "EUR"]), /price/);
  await assert.rejects(listing("hat", ["5", "USD"]), /USD/i);
  const offers = { kinds: [PRODUCT, LISTING], "#t": ["honey", "wool"] };
  assert.deepEqual(ids(await ben.find(offers)), [scarf.id, jar.id]);
  await listing("gloves", ["9", "EUR"], secondsAgo(10));
  await listing("socks", ["5", "EUR"], secondsAgo(10));
  await assert.rejects(listing("hat", ["15", "EUR"]), /3/);
  await listing("socks", ["4", "EUR"]);

  // The order is between the two of them.
  await anna.prove();
  const inbox = await anna.listen({ kinds: [GiftWrap], "#p": [anna.key] });
  const order = JSON.stringify({ id: "o1", type: 0, items: [{ product_id: "h1", quantity: 2 }], shipping_id: "eu" });
  for (const wrap of nip17.wrapManyEvents(cleo.secret, [{ publicKey: anna.key }], order, "order")) {
    await cleo.publish(wrap);
  }
  const message = nip17.unwrapEvent(await inbox.next(), anna.secret);
  assert.deepEqual([message.pubkey, JSON.parse(message.content).id], [cleo.key, "o1"]);
  await ben.prove();
  assert.deepEqual(await ben.find({ kinds: [GiftWrap] }), []);
});
