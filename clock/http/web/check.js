/** A player checks a round: this device computes its packets again and compares them with what was published. */

import { orNull, send } from "/web/api.js";
import { find, make, put } from "/web/dom.js";
import { split } from "/web/fair.js";
import { keysFor, notedOf } from "/web/noted.js";
import { bytes, canHash, hex, sha256 } from "/web/notes.js";
import { placeOf } from "/web/receipts.js";
import { drawnOf, stated, undrawn, wayOf } from "/web/statements.js";
import { number, price, t } from "/web/texts.js";

const PAGE = 10_000;

/** Sentences for what a service says that it does not have. */
const NOT_PROVED = { statements: "fair_missing_statements", beacon: "fair_missing_beacon", draw: "fair_missing_draw", witnesses: "fair_missing_witnesses" };

let round = null;
let mine = null;
let asks = false;
let asked = 0;
let found = null;

/** The round that can be checked, the packet in it that is known to be the player's, or null, and whether there is a
 *  player whose place can be asked for. */
export function offer(published, packet, signedIn) {
  if (round?.day !== published.day) [asked, found] = [asked + 1, null];
  [round, mine, asks] = [published, packet, signedIn];
  find("fair-check").hidden = !(published.drawn && published.packets);
  show();
}

/** Puts what was found into the language of the page. */
function show() {
  find("fair-steps").replaceChildren(...(found?.steps ?? []).map(([good, name, ...values]) => {
    const [mark, word] = good === null ? ["none", "fair_none"] : good ? ["good", "fair_good"] : ["bad", "fair_bad"];
    return make("li", mark, make("span", "unseen", t(word)), t(name, ...values.map((value) => value())));
  }));
  put(find("fair-said"), found ? t(...found.said) : "");
  find("fair-said").classList.toggle("bad", found?.bad ?? false);
}

async function run() {
  const [one, own, turn] = [round, mine, ++asked];
  found = { said: ["fair_running"], steps: [] };
  show();
  const packets = await published(one, turn);
  const reply = packets && asks && (await orNull(send("GET", `/api/me/place/${one.day}`)));
  const proof = packets && (await orNull(send("GET", `/api/rounds/${one.day}/proof`)));
  const steps = proof?.status === 1 && (await compare(one, own, packets, reply?.data?.place ?? null, proof.data));
  if (turn !== asked) return;
  const bad = !steps || steps.some(([good]) => good === false);
  found = { steps: steps || [], bad, said: [!steps ? "gave_up" : bad ? "fair_differs" : "fair_agrees"] };
  show();
}

/** All packets of a round, page by page, or null where they are not to be had. */
async function published({ day, packets }, turn) {
  const all = [];
  for (let page = 1; all.length < packets && turn === asked; page++) {
    const reply = await orNull(send("GET", `/api/rounds/${day}/packets?page=${page}&limit=${PAGE}`));
    if (reply?.status !== 1) return null;
    if (!reply.data.items.length) break;
    all.push(...reply.data.items);
  }
  return all;
}

/** Whether each thing is as it must be (null: it cannot be known here), and the sentence that says so. */
async function compare(one, own, packets, place, proof) {
  const { rules, seed_hash, members, winners, pool, refunded, forfeited, fee, carried_in, bonus, pot, carried_out } = one;
  const before = notedOf(one.day).seed;
  const digest = canHash() && hex(await sha256(bytes(one.seed)));
  const draws = digest && (await drawnOf(one, proof.statements)) === one.drawn;
  const way = wayOf(proof.statements);
  const again = await split(bytes(one.drawn), pot, winners, { ...rules, ...way });
  const differs = again.findIndex((packet, i) => packet !== BigInt(packets[i] ?? -1));
  const sum = packets.reduce((total, packet) => total + packet, 0);
  const kept = Math.floor((forfeited * rules.fee_bps) / 10_000);
  const whole = pool === members * rules.stake_fen && pool === winners * rules.stake_fen + refunded + forfeited;
  const [money, count] = [(fen) => () => price(fen), (value) => () => number(value)];
  return [
    before ? [before === seed_hash, before === seed_hash ? "fair_noted" : "fair_not_noted"] : [null, "fair_never_noted"],
    digest ? [digest === seed_hash, digest === seed_hash ? "fair_seed" : "fair_not_seed"] : [null, "fair_no_digest"],
    ...(digest ? [[draws, draws ? "fair_drawn" : "fair_not_drawn"]] : []),
    ...(digest ? await stated(one, proof.statements, await keysFor(proof)) : []),
    [whole && fee === kept && pot === forfeited - fee + carried_in + bonus, bonus ? "fair_pot_bonus" : "fair_pot", money(pot), money(forfeited), money(fee), money(carried_in), money(bonus)],
    differs < 0 && packets.length === winners
      ? [true, "fair_packets", count(winners)]
      : [false, "fair_not_packets", count(differs < 0 ? winners + 1 : differs + 1)],
    [sum + carried_out === pot, "fair_sum", money(sum), money(carried_out)],
    ...ofMine(own, packets, placeOf(one.day, proof.statements.closed) ?? place),
    ...Object.keys(NOT_PROVED).filter((word) => proof.missing.includes(word) || (word === "draw" && way.split)).map((word) => [null, notProved(word, proof)]),
  ];
}

/** The sentence for it. A draw that came in time is not missing: C was late. */
const notProved = (word, { statements }) => (word === "draw" && undrawn(statements) === "late" ? "fair_late_draw" : NOT_PROVED[word]);

/** My packet is the one at my place: I have got it, or it is waiting for me. */
function ofMine(own, packets, place) {
  if (place === null) return [];
  const there = packets[place - 1];
  const good = there !== undefined && (own === null || own === there);
  return [[good, good ? "fair_mine" : "fair_not_mine", () => number(place), () => price(there ?? 0)]];
}

find("fair-check").addEventListener("click", run);
