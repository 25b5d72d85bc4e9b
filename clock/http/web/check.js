/** A player checks a round: this device computes its packets again and compares them with what was published. */

import { orNull, send } from "/web/api.js";
import { find, make, put } from "/web/dom.js";
import { split } from "/web/fair.js";
import { device } from "/web/kept.js";
import { number, price, t } from "/web/texts.js";

const PAGE = 10_000;
const NOTED = "clock.seeds";
const MOST_NOTED = 14;

/** Sentences for what a service says that it does not have. */
const NOT_PROVED = { statements: "fair_missing_statements", beacon: "fair_missing_beacon", witnesses: "fair_missing_witnesses" };

let round = null;
let mine = null;
let asks = false;
let asked = 0;
let found = null;

/** Fingerprints of seeds by round, as this device saw them while their rounds were not settled. */
const noted = () => device.get(NOTED) ?? {};

/** Writes a round's fingerprint down; what was written first stays. */
export function note(day, fingerprint) {
  const seeds = noted();
  if (!fingerprint || day in seeds) return;
  const days = Object.keys(seeds).sort().slice(1 - MOST_NOTED);
  device.set(NOTED, { ...Object.fromEntries(days.map((one) => [one, seeds[one]])), [day]: fingerprint });
}

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

/** The bytes of a text in hexadecimal. */
const bytes = (text) => Uint8Array.from(text.match(/../g), (byte) => parseInt(byte, 16));

const hex = (some) => Array.from(some, (byte) => byte.toString(16).padStart(2, "0")).join("");

const sha256 = async (some) => new Uint8Array(await crypto.subtle.digest("SHA-256", some));

/** What is drawn, in hexadecimal: the seed, mixed with a beacon's signature, if there is one, and with the statement of
 *  what was closed. Rounds without statements are drawn by their seed. */
async function drawn({ seed }, { closed, published }) {
  if (!closed) return seed;
  const text = (words) => new TextEncoder().encode(words);
  const beacon = published?.match(/^beacon: ([0-9a-f]+)$/m)?.[1] ?? "";
  const stated = await sha256(text(closed.slice(0, closed.lastIndexOf("\n\n") + 1)));
  return hex(await sha256(Uint8Array.of(...text("clock/seed/v2"), ...bytes(seed + beacon), ...stated)));
}

/** Whether each thing is as it must be (null: it cannot be known here), and the sentence that says so. */
async function compare(one, own, packets, place, { statements, missing }) {
  const { rules, seed_hash, members, winners, pool, refunded, forfeited, fee, carried_in, bonus, pot, carried_out } = one;
  const before = noted()[one.day];
  const digest = globalThis.crypto?.subtle && hex(await sha256(bytes(one.seed)));
  const draws = digest && (await drawn(one, statements)) === one.drawn;
  const again = await split(bytes(one.drawn), pot, winners, rules);
  const differs = again.findIndex((packet, i) => packet !== BigInt(packets[i] ?? -1));
  const sum = packets.reduce((total, packet) => total + packet, 0);
  const kept = Math.floor((forfeited * rules.fee_bps) / 10_000);
  const whole = pool === members * rules.stake_fen && pool === winners * rules.stake_fen + refunded + forfeited;
  const [money, count] = [(fen) => () => price(fen), (value) => () => number(value)];
  return [
    before ? [before === seed_hash, before === seed_hash ? "fair_noted" : "fair_not_noted"] : [null, "fair_never_noted"],
    digest ? [digest === seed_hash, digest === seed_hash ? "fair_seed" : "fair_not_seed"] : [null, "fair_no_digest"],
    ...(digest ? [[draws, draws ? "fair_drawn" : "fair_not_drawn"]] : []),
    [whole && fee === kept && pot === forfeited - fee + carried_in + bonus, bonus ? "fair_pot_bonus" : "fair_pot", money(pot), money(forfeited), money(fee), money(carried_in), money(bonus)],
    differs < 0 && packets.length === winners
      ? [true, "fair_packets", count(winners)]
      : [false, "fair_not_packets", count(differs < 0 ? winners + 1 : differs + 1)],
    [sum + carried_out === pot, "fair_sum", money(sum), money(carried_out)],
    ...ofMine(own, packets, place),
    ...missing.filter((word) => word in NOT_PROVED).map((word) => [null, NOT_PROVED[word]]),
  ];
}

/** My packet is the one at my place: I have got it, or it is waiting for me. */
function ofMine(own, packets, place) {
  if (place === null) return [];
  const there = packets[place - 1];
  const good = there !== undefined && (own === null || own === there);
  return [[good, good ? "fair_mine" : "fair_not_mine", () => number(place), () => price(there ?? 0)]];
}

find("fair-check").addEventListener("click", run);
