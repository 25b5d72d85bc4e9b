/** What operators did, newest first. */

import { find, make, put } from "/web/dom.js";
import { read } from "/web/ops-api.js";
import { has, t } from "/web/ops-texts.js";
import * as servertime from "/web/servertime.js";
import { number, price } from "/web/texts.js";

const PAGE = 10;
const MOST = 200;

let pages = 1;
let said = "";

const whenOf = (ms) => `${servertime.dayOf(ms)} ${servertime.timeOf(ms)}`;

export async function showActs() {
  const limit = Math.min(MOST, PAGE * pages);
  const data = await read(`/ops/actions?limit=${limit}`);
  if (!data) return;
  const text = JSON.stringify([data, t("acts")]);
  if (text === said) return;
  said = text;
  const waiting = data.items.filter((one) => one.waits).length;
  put(find("acts-waiting"), waiting ? t("acts_waiting", number(waiting)) : "");
  find("acts").replaceChildren(...data.items.map(item));
  find("acts-none").hidden = data.items.length > 0;
  find("acts-more").hidden = data.items.length < limit || limit >= MOST;
}

function item(one) {
  const name = has(`act_${one.act}`) ? t(`act_${one.act}`) : one.act;
  const head = make("div", "head", make("strong", "", name), make("span", "soft", `${one.who} · ${one.address} · ${whenOf(one.at_ms)}`));
  if (one.amount_fen !== null) head.append(make("span", "money", price(one.amount_fen)));
  const detail = Object.entries(one.detail).map(([key, value]) => ` ${key} ${typeof value === "object" ? JSON.stringify(value) : value}`).join();
  const entry = make("li", "", head, make("code", "", one.about + detail));
  if (one.reason) entry.append(make("span", "soft", one.reason));
  entry.append(make("span", one.waits ? "released bad" : "soft", one.waits ? t("act_waits") : one.word ?? t("act_open")));
  entry.dataset.act = one.act;
  return entry;
}

find("acts-more").addEventListener("click", async () => {
  pages += 1;
  await showActs();
});
