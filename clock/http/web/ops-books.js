/** A round's own rules, its books as files, and the members who look alike. */

import { find, make, put } from "/web/dom.js";
import { download, read } from "/web/ops-api.js";
import { t } from "/web/ops-texts.js";
import { number, price } from "/web/texts.js";

const WHAT = ["orders", "payments", "payouts", "refunds", "ledger"];
const MORNINGS = 14;
const SHOWN = 200;

let day = "";
let after = 0;

export function showBooks(round) {
  showRules(round.rules);
  if (find("export").children.length !== WHAT.length || find("export").dataset.said !== t("export")) showFiles();
  const text = find("alike").querySelector("p");
  put(text, t("alike_text", MORNINGS));
  if (day !== round.day) forget();
  day = round.day;
}

function forget() {
  after = 0;
  find("alike-list").replaceChildren();
  put(find("alike-said"), "");
  put(find("alike-look"), t("alike_look"));
}

const WRITE = {
  stake_fen: price, packet_cap_fen: (fen) => (fen ? price(fen) : t("off")), fee_bps: (bps) => `${bps / 100}%`, lucky_bps: (bps) => `${bps / 100}%`,
  split: (word) => t(`split_${word}`), nobody: (word) => t(`nobody_${word}`), lucky_count: number, shards: number,
};

function showRules(rules) {
  find("rules-list").replaceChildren(...Object.entries(rules).map(([name, value]) =>
    make("div", "", make("dt", "", t(name)), make("dd", "", WRITE[name]?.(value) ?? String(value))),
  ));
}

function showFiles() {
  find("export").dataset.said = t("export");
  find("export").replaceChildren(...WHAT.map((what) => {
    const button = make("button", "plain small", t(`export_${what}`));
    button.type = "button";
    button.addEventListener("click", () => save(what));
    return button;
  }));
}

/** The token is in a header, so that the file is fetched first. */
async function save(what) {
  const name = `${day}-${what}.csv`;
  put(find("round-said"), t("exporting"));
  const file = await download(`/ops/rounds/${day}/export?what=${what}`);
  if (typeof file === "string") return put(find("round-said"), file || t("lost"));
  const link = make("a", "");
  Object.assign(link, { href: URL.createObjectURL(file), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return put(find("round-said"), t("exported", name));
}

find("alike-look").addEventListener("click", async () => {
  const asked = day;
  const data = await read(`/ops/lookalikes/${asked}?after=${after}`);
  if (!data || asked !== day) return;
  const lines = [
    ...data.shared.map((one) => t(`alike_${one.what}`, one.uid, one.others.join(", "))),
    ...data.clockwork.map((one) => t("alike_clockwork", one.uid, one.second, number(one.times))),
  ];
  find("alike-list").replaceChildren(...lines.slice(0, SHOWN).map((line) => make("li", "", line)));
  put(find("alike-said"), t(lines.length ? "alike_seen" : "alike_none", number(data.looked)));
  after = data.after ?? 0;
  put(find("alike-look"), t(after ? "alike_more" : "alike_look"));
});
