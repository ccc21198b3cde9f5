// Now: numbers of the moment as the relay tells them, drawn as small plots. What is drawn is what this page has seen;
// whatever numbers the relay tells are drawn, also ones that this page has never heard of.

import { call } from "./api.js";
import { again, h, s, when } from "./dom.js";

/** Seconds between two looks. */
const SECONDS = 2;

/** Looks that a plot remembers: ten minutes. */
const POINTS = 300;

/** Series that are drawn; a relay that tells more is cut short. */
const SERIES_MAX = 120;

const [WIDTH, HEIGHT] = [160, 36];

/** The names of a number, outer one first, as words. */
const words = (path) => path.map((name) => name.replaceAll("_", " "));

/** The same as a title. */
function titled(path) {
  const text = words(path).join(" · ").replace(/^cpu\b/, "CPU");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** All numbers in an answer, each with the names that lead to it, and all lists of things. */
function flatten(value, path, found) {
  if (typeof value === "number" && Number.isFinite(value)) {
    found.numbers.push({ path, value });
  } else if (Array.isArray(value)) {
    found.lists.push({ path, value });
  } else if (value !== null && typeof value === "object") {
    Object.entries(value).forEach(([name, inner]) => flatten(inner, [...path, name], found));
  }
  return found;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** A number as people read it, by the unit that its name has. */
function readable(value, name) {
  if (/(^|_)bytes(_|$)/.test(name)) {
    const power = value < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(value) / 10));
    return `${(value / 1024 ** power).toLocaleString("en", { maximumFractionDigits: 1 })} ${UNITS[power]}`;
  }
  return value.toLocaleString("en", { maximumFractionDigits: 2 });
}

/** A line through points, between the least and the greatest of them. */
function plot(points, label) {
  const [least, most] = [Math.min(...points), Math.max(...points)];
  const x = (at) => (points.length < 2 ? WIDTH : (at / (points.length - 1)) * WIDTH);
  const y = (value) => (most === least ? HEIGHT / 2 : HEIGHT - 3 - ((value - least) / (most - least)) * (HEIGHT - 6));
  const line = points.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
  const start = points.length < 2 ? [`0,${y(points[0]).toFixed(1)}`] : [];
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    s("polyline", { points: [...start, ...line].join(" "), fill: "none", "vector-effect": "non-scaling-stroke" }));
}

/** One number: its name, what it is now, how it went. */
function tile({ path, points }) {
  const [first, last] = [points[0], points.at(-1)];
  const name = path.at(-1);
  const inner = path.slice(path.length > 1 ? 1 : 0);
  // Rules have names of their own, which stay as they are.
  const title = path[0] === "rules" ? words(inner).join(" · ") : titled(inner);
  const change = last - first;
  const sign = change > 0 ? "+" : "−";
  const since = change === 0 ? "no change" : `${sign}${readable(Math.abs(change), name)} since you came`;
  return h("figure", { class: "tile" },
    h("figcaption", {}, title),
    h("strong", {}, readable(last, name)),
    plot(points, `${title}: ${readable(last, name)}, ${since}`),
    h("span", { class: "hint" }, since));
}

/** A list of things, one a row; of texts or numbers, one a line. */
function table({ path, value }) {
  const rows = value.slice(0, 20);
  const columns = [...new Set(rows.flatMap((row) => (row && typeof row === "object" ? Object.keys(row) : [])))];
  const shown = (cell, name) => (name === "at" ? when(cell) : typeof cell === "number" ? readable(cell, name)
    : typeof cell === "object" && cell !== null ? JSON.stringify(cell) : String(cell ?? ""));
  const body = columns.length === 0
    ? h("ul", {}, rows.map((row) => h("li", {}, shown(row, ""))))
    : h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": words(path).join(" ") }, h("table", {},
      h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, words([name])[0])))),
      h("tbody", {}, rows.map((row) => h("tr", {}, columns.map((name) => h("td", {}, shown(row[name], name))))))));
  return [h("h2", {}, titled(path)), rows.length === 0 ? h("p", { class: "hint" }, "Nothing.") : body];
}

const TITLES = {
  "": "This community",
  traffic: "Traffic since the relay started",
  rules: "What rules refused since the relay started",
  process: "The whole relay",
};

/** The answer's numbers and lists by the first of their names. */
function draw({ series, lists }) {
  // Those with a title of their own come first, in that order.
  const groups = new Map(Object.keys(TITLES).map((name) => [name, []]));
  const group = (path) => (path.length > 1 ? path[0] : "");
  const put = (name, element) => groups.set(name, [...(groups.get(name) ?? []), element]);
  // A rule that never did a thing, such as being on trial, has no plot.
  const isIdle = ({ path, points }) => path[0] === "rules" && points.every((point) => point === 0);
  [...series.values()].filter((one) => !isIdle(one)).forEach((one) => put(group(one.path), tile(one)));
  const sections = [...groups].filter(([, tiles]) => tiles.length > 0).map(([name, tiles]) =>
    h("section", { class: "box" }, h("h2", {}, TITLES[name] ?? titled([name])), h("div", { class: "tiles" }, tiles)));
  const listed = lists.map((list) => h("section", { class: "box" }, table(list)));
  return [...sections, ...listed];
}

/** Shows the numbers and asks for new ones for as long as the view is open and the page is seen. */
export function show() {
  const series = new Map();
  const place = h("div", {}, h("p", { class: "hint" }, "Looking…"));
  const note = h("p", { class: "hint", role: "status" });

  function take(answer) {
    const { numbers, lists } = flatten(answer, [], { numbers: [], lists: [] });
    for (const { path, value } of numbers.slice(0, SERIES_MAX)) {
      const name = path.join("\n");
      const points = series.get(name)?.points ?? [];
      points.push(value);
      series.set(name, { path, points: points.slice(-POINTS) });
    }
    // Where somebody reads on with the keyboard stays where it is.
    const focused = [...place.querySelectorAll("[tabindex]")].indexOf(document.activeElement);
    place.replaceChildren(...draw({ series, lists }));
    if (focused >= 0) {
      place.querySelectorAll("[tabindex]")[focused]?.focus({ preventScroll: true });
    }
  }

  const close = again(SECONDS, note, async () => take(await call("stats")));
  return {
    element: h("div", {},
      h("p", { class: "hint lead" }, `Looked at every ${SECONDS} seconds. Plots show what this page has seen since you came.`),
      note, place),
    close,
  };
}
