/** Long work of all rounds: what runs, with a bar, and how the last pieces ended. */

import { find, make } from "/web/dom.js";
import { read } from "/web/ops-api.js";
import { has, lasting, t } from "/web/ops-texts.js";
import * as servertime from "/web/servertime.js";
import { number } from "/web/texts.js";

const ENDED_SHOWN = 5;

const named = (prefix, word) => (has(`${prefix}${word}`) ? t(`${prefix}${word}`) : word);
/** A step is a sentence's key, or begins with one and goes on with what it is at: `merging 2026-11`. */
function stepOf(step) {
  const [first, ...rest] = step.split(" ");
  return has(`did_${step}`) || !has(`did_${first}`) ? named("did_", step) : [t(`did_${first}`), ...rest].join(" ");
}

const clockOf = (ms) => servertime.timeOf(ms);

let said = "";

export async function showWork() {
  const data = await read("/ops/work?limit=50");
  if (!data) return;
  const open = data.items.filter((one) => one.ended_ms === null);
  const ended = data.items.filter((one) => one.ended_ms !== null).slice(0, ENDED_SHOWN);
  const items = [...open.map(running), ...ended.map(over)];
  find("work-card").hidden = items.length === 0;
  const text = JSON.stringify([items.map((item) => item.outerHTML)]);
  if (text === said) return;
  said = text;
  find("work").replaceChildren(...items);
}

function entry(one, ...parts) {
  const title = make("strong", "", `${named("work_", one.kind)} ${one.about}`);
  const item = make("li", "", make("div", "head", title, make("span", "soft", t("work_by", one.asked_by, clockOf(one.asked_ms)))), ...parts);
  item.dataset.work = one.kind;
  item.dataset.state = one.state;
  return item;
}

function running(one) {
  if (one.state === "waiting") return entry(one, make("span", "soft", t(one.beat_ms === null ? "work_waits" : "work_tried")));
  const bar = make("progress", "");
  bar.setAttribute("aria-label", named("work_", one.kind));
  if (one.total) {
    bar.max = one.total;
    bar.value = Math.min(one.done, one.total);
  }
  const count = one.done === null ? "" : one.total ? `${number(one.done)} / ${number(one.total)}` : number(one.done);
  const text = [stepOf(one.step), count, t("work_since", clockOf(one.began_ms))].filter(Boolean).join(" · ");
  const label = make("label", "progress", make("span", "soft", text), bar);
  return one.alive ? entry(one, label) : entry(one, label, make("span", "bad", t("work_silent")));
}

function over(one) {
  const took = one.began_ms === null ? "" : ` · ${lasting((one.ended_ms - one.began_ms) / 1000)}`;
  return entry(one, make("span", "soft", `${t("work_ended", clockOf(one.ended_ms), named("word_", one.word))}${took}`));
}
