/** Charts as SVG, by hand: only attributes that the page's policy allows, and no text that is not text. */

const SVG = "http://www.w3.org/2000/svg";

export function shape(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

const round = (value) => Math.round(value * 10) / 10;

/** The last values as a line; the newest is on the right. */
export function spark(svg, values, most) {
  const [width, height] = [240, 48];
  const top = Math.max(...values, 1e-9);
  const points = values.map((value, i) => [
    round(width - (values.length - 1 - i) * (width / (most - 1))), round(height - 3 - (value / top) * (height - 8)),
  ]);
  if (points.length < 2) return svg.replaceChildren();
  const line = points.map((point) => point.join(" ")).join(" L");
  svg.replaceChildren(
    shape("path", { class: "area", d: `M${points[0][0]} ${height} L${line} L${width} ${height} Z` }),
    shape("path", { class: "line", d: `M${line}` }),
  );
}

/** A bar of the part that `value` is of `whole`. */
export function bar(kind, value, whole) {
  const svg = shape("svg", { viewBox: "0 0 100 18", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(shape("rect", { class: `fill${kind}`, width: whole ? round((100 * value) / whole) : 0, height: 18, rx: 1 }));
  return svg;
}

const [LEFT, RIGHT, TOP, BOTTOM, HEIGHT] = [44, 12, 22, 24, 240];
const LABEL = 40;

/** A round number of the axis, at or above `value`. */
export function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}

/**
 * Cumulated lines over time. `rows`: `[instant, …counts]` sorted; `from`, `to`, `now`: instants; `marks`: `[instant, text]`;
 * `write`: an instant as text; `names`: of the series. The pointer tells the figures of an instant.
 */
export function curves(svg, { rows, from, to, now, marks, write, names, label }) {
  const width = Math.max(280, svg.clientWidth);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const sums = names.map(() => 0);
  const cumulated = rows.map(([at, ...counts]) => [at + 60_000, ...counts.map((count, i) => (sums[i] += count))]);
  const top = ceiling(Math.max(...sums, 4));
  const x = (at) => round(LEFT + ((Math.min(Math.max(at, from), to) - from) / (to - from)) * (width - LEFT - RIGHT));
  const y = (count) => round(HEIGHT - BOTTOM - (count / top) * (HEIGHT - TOP - BOTTOM));
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    parts.push(shape("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(top * share), y2: y(top * share) }));
    parts.push(shape("text", { x: LEFT - 6, y: y(top * share) + 4, "text-anchor": "end" }, Number.isInteger(top * share) ? short(top * share) : ""));
  }
  let last = -LABEL;
  for (const [at, text] of marks) {
    parts.push(shape("line", { class: "mark", x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM }));
    if (x(at) - last < LABEL) continue; // two labels would lie on one another
    parts.push(shape("text", { x: x(at), y: HEIGHT - 6, "text-anchor": x(at) > width - LABEL ? "end" : "middle" }, text));
    last = x(at);
  }
  names.forEach((_, i) => {
    let path = `M${x(from)} ${y(0)}`;
    let before = 0;
    for (const row of cumulated) {
      if (row[i + 1] === before) continue;
      path += ` H${x(row[0])} V${y(row[i + 1])}`;
      before = row[i + 1];
    }
    const end = Math.max(now, cumulated.at(-1)?.[0] ?? from);
    parts.push(shape("path", { class: `line line${i + 1}`, d: `${path} H${x(end)}` }));
  });
  svg.replaceChildren(shape("title", {}, label), ...parts);
  svg.onpointermove = (event) => tell(event, svg, { cumulated, from, to: Math.min(to, Math.max(now, from)), end: to, x, write, names, width });
  svg.onpointerleave = () => svg.querySelectorAll(".cursor, .told").forEach((node) => node.remove());
}

function tell(event, svg, { cumulated, from, to, end, x, write, names, width }) {
  const box = svg.getBoundingClientRect();
  const at = from + (((event.clientX - box.left) / box.width) * width - LEFT) / (width - LEFT - RIGHT) * (end - from);
  if (at < from || at > to) return;
  const row = cumulated.findLast((one) => one[0] <= at) ?? [at, ...names.map(() => 0)];
  svg.querySelectorAll(".cursor, .told").forEach((node) => node.remove());
  const text = `${write(at)}  ${names.map((name, i) => `${name} ${row[i + 1]}`).join(" · ")}`;
  svg.append(
    shape("line", { class: "cursor", x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM }),
    shape("text", { class: "told", x: LEFT, y: 14 }, text),
  );
}

const short = (count) => (count >= 10_000 ? `${count / 1000}k` : String(count));
