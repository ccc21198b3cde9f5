/* relay.toml
[[community]]
path = "/market"
preset = "marketplace"
[community.search]
enabled = true
*/
// Search across the offers of all merchants of a market (NIP-50): products of stalls (NIP-15) and classified listings
// (NIP-99), by words in any script, by tag and place beside them, best first, and live.
import assert from "node:assert/strict";
import { ids, scene, secondsAgo, url } from "../guest.js";

const [STALL, PRODUCT, LISTING] = [30017, 30018, 30402];

await scene(4, async (anna, ben, chen, dana) => {
  const document = await fetch(url.replace("ws", "http"), { headers: { Accept: "application/nostr+json" } });
  assert((await document.json()).supported_nips.includes(50));

  let minute = 100;
  const stall = (guest, id, name) =>
    guest.publish(STALL, JSON.stringify({ id, name, currency: "sat", shipping: [] }), [["d", id]], secondsAgo(60 * minute--));
  const product = (guest, id, stall_id, name, description, tag) => {
    const content = { id, stall_id, name, description, images: [], currency: "sat", price: 100, quantity: 1, specs: [], shipping: [] };
    return guest.publish(PRODUCT, JSON.stringify(content), [["d", id], ["t", tag]], secondsAgo(60 * minute--));
  };
  const listing = (guest, d, title, text, tags) => {
    const all = [["d", d], ["title", title], ["summary", title], ["price", "10", "EUR"], ["status", "active"], ...tags];
    return guest.publish(LISTING, text, all, secondsAgo(60 * minute--));
  };
  await stall(anna, "bees", "Bees of the lake");
  await stall(chen, "tea", "茶館");
  const honey = await product(anna, "h1", "bees", "Linden honey", "from our own bees", "food");
  const wax = await product(anna, "w1", "bees", "Candles", "of bees wax, they smell of honey", "home");
  const tea = await product(chen, "t1", "tea", "龍井茶 Longjing", "一級綠茶", "food");
  const cake = await listing(ben, "cake", "Gâteau au miel", "Crème brûlée and honey cake", [["t", "food"], ["g", "u33dc"]]);
  const bike = await listing(dana, "bike", "Red bicycle", "hardly used", [["t", "sport"], ["location", "Köpenick"], ["g", "u33db"]]);

  const offers = (search, more = {}) => ben.find({ kinds: [PRODUCT, LISTING], search, ...more });
  const found = async (search, more) => ids(await offers(search, more)).sort();
  const all = (...events) => ids(events).sort();
  assert.deepEqual(await found("honey"), all(honey, wax, cake));
  assert.deepEqual(await found("HONEY bees"), all(honey, wax));
  assert.deepEqual(await found('"linden honey"'), all(honey));
  assert.deepEqual(await found("honey -candles"), all(honey, cake));
  assert.deepEqual(await found("gateau creme"), all(cake), "accents make no difference");
  assert.deepEqual(await found("kopenick"), all(bike));
  assert.deepEqual(await found("綠茶"), all(tea));
  assert.deepEqual(await found("longjing"), all(tea));
  assert.deepEqual(await found("honey", { "#t": ["food"] }), all(honey, cake));
  assert.deepEqual(await found("honey", { "#g": ["u33dc"] }), all(cake));
  assert.deepEqual(await found("honey", { authors: [anna.key] }), all(honey, wax));
  assert.deepEqual(await found("submarine"), []);

  // Who waits for something hears of it when somebody offers it; what was sold is gone at once.
  const wanted = await anna.listen({ kinds: [LISTING], search: "harpsichord" });
  await listing(ben, "piano", "Piano", "in tune", []);
  const harpsichord = await listing(dana, "harpsichord", "Harpsichord", "two manuals", []);
  assert.equal((await wanted.next()).id, harpsichord.id);
  assert.deepEqual(await found("harpsichord"), all(harpsichord));
  await dana.publish(5, "sold", [["a", `${LISTING}:${dana.key}:harpsichord`]]);
  assert.deepEqual(await found("harpsichord"), []);
});
