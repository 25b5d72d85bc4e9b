/** Receipts: what the service has signed for the player is kept on this device, and held against what it publishes. */

import { orNull, persist, send, session, sleep } from "/web/api.js";
import { find, make } from "/web/dom.js";
import { device } from "/web/kept.js";
import { keysFor } from "/web/noted.js";
import { canHash, isSigned, rootOf, valuesOf } from "/web/notes.js";
import { t } from "/web/texts.js";

const KEPT = "clock.receipts";
const KINDS = ["stake", "checked_in"];
/** Two of each of 14 rounds. */
const MOST_KEPT = 28;
const FIRST_WAIT_MS = 2_000;
const MOST_TRIES = 5;
const MOST_CHECKED = 2;
const SPREAD_MS = 3_000;
const OUT = new Set(["settled", "finished"]);
const SAVES = "download" in HTMLAnchorElement.prototype;

/** Names of the trees in C, and of the answers that deny a leaf. */
const TREES = { stake: "stakes", checked_in: "checked_in" };
const DENIED = new Set(["not_joined", "not_checked_in"]);

const SENTENCES = {
  kept: [null, "receipt_kept"], good: [true, "receipt_good"], unsigned: [null, "receipt_unsigned"], unknown: [null, "receipt_unknown"],
  unable: [null, "receipt_unable"], denied: [false, "receipt_denied"], forged: [false, "receipt_forged"],
};

const asked = new Set();
/** The leaves that are or were checked here, and what was found. What is good is kept with the receipt. */
const checked = new Set();
const found = new Map();
let days = [];

const mine = () => (device.get(KEPT) ?? []).filter((one) => one.uid === session.caller?.uid);

/** Kind, round and user that a leaf speaks of. */
function about({ leaf }) {
  const [head, round, , third, fourth] = leaf.split("\n");
  const kind = head.replace("clock/leaf/v1 ", "");
  return { kind, round, uid: Number(kind === "stake" ? third : fourth) };
}

const isSame = (one, other) => ["kind", "round", "uid"].every((name) => one[name] === other[name]);

/** Keeps a receipt of the caller's, and whether it was found good. The oldest goes. */
export function keep(receipt, good = false) {
  if (![receipt?.leaf, receipt?.note].every((text) => typeof text === "string") || !Array.isArray(receipt.path)) return;
  const of = about(receipt);
  if (of.uid !== session.caller?.uid || !KINDS.includes(of.kind)) return;
  const others = (device.get(KEPT) ?? []).filter((one) => !isSame(one, of));
  device.set(KEPT, [...others, { ...of, receipt, good }].slice(-MOST_KEPT));
  show();
}

/** Asks for the caller's receipts of a round that this device does not have. */
export function complete(round, kinds) {
  for (const kind of kinds) {
    const name = `${session.caller.uid} ${round} ${kind}`;
    if (asked.has(name) || mine().some((one) => one.round === round && one.kind === kind)) continue;
    asked.add(name);
    fetchOne(round, kind);
  }
}

/** More and more rarely: the books may not have it yet. An answer, also that there are no receipts, is the last. */
async function fetchOne(round, kind) {
  const who = session.caller;
  for (let tries = 0, wait = FIRST_WAIT_MS; tries < MOST_TRIES; tries++, wait *= 3) {
    await sleep(wait * (1 + Math.random() / 2));
    if (who !== session.caller) return;
    const reply = await orNull(send("GET", `/api/rounds/${round}/receipt/${kind}`, undefined, true));
    if (who !== session.caller) return;
    if (reply) return keep(reply.data);
  }
}

/** The shown round, and that whose check-in was this morning. The receipts of the last rounds that are published are
 *  checked, once, until they are found good. */
export function look(round, morning) {
  days = [round, morning?.round];
  show();
  if (!morning) return;
  const isOut = (day) => day < morning.round || (day === morning.round && OUT.has(morning.state));
  const out = mine().filter((one) => isOut(one.round));
  for (const day of [...new Set(out.map((one) => one.round))].sort().slice(-MOST_CHECKED)) {
    const open = out.filter((one) => one.round === day && !one.good && !checked.has(one.receipt.leaf));
    for (const one of open) checked.add(one.receipt.leaf);
    if (open.length) check(day, open);
  }
}

async function check(day, open) {
  await sleep(SPREAD_MS * Math.random()); // everybody's round is published at one instant
  const proof = canHash() ? await answer(`/api/rounds/${day}/proof`) : null;
  const keys = proof?.status === 1 ? await keysFor(proof.data) : null;
  for (const one of open) {
    const word = keys ? await judge(one, proof.data.statements.closed, keys) : canHash() ? "unknown" : "unable";
    found.set(one.receipt.leaf, word);
    if (word === "good") keep(one.receipt, true);
  }
  show();
}

const answer = (path) => orNull(persist(() => send("GET", path), () => {}));

/** The place in the lists of winners and packets, from 1, that the caller's receipt gives by C; null without a receipt. */
export function placeOf(round, closed) {
  const kept = mine().find((one) => one.round === round && one.kind === "checked_in");
  const [, , shard, rank] = kept?.receipt.leaf.split("\n") ?? [];
  const before = kept && closed ? JSON.parse(valuesOf(closed, "closed").shards).slice(0, Number(shard)) : null;
  return before && before.reduce((sum, [, winners]) => sum + winners, Number(rank));
}

/** An answer that cannot be read says nothing. */
async function judge(one, closed, keys) {
  try {
    return await judged(one, closed, keys);
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    return "unknown";
  }
}

/** The receipt's own batch, its signature, and its leaf in the tree of C, a winner's at its place. */
async function judged({ kind, round, receipt }, closed, keys) {
  const batch = valuesOf(receipt.note, kind);
  if (batch?.round !== round || batch.leaves !== (await rootOf(receipt))) return "forged";
  const signed = await Promise.all([receipt.note, closed].map((note) => note && isSigned(note, keys)));
  if (signed.includes(false)) return "forged";
  if (!closed) return "unknown";
  const reply = await answer(`/api/rounds/${round}/proof/${kind}`);
  if (DENIED.has(reply?.code)) return "denied";
  if (reply?.status !== 1) return "unknown";
  const root = valuesOf(closed, "closed")?.[TREES[kind]];
  if (reply.data.leaf !== receipt.leaf || root !== (await rootOf(reply.data))) return "denied";
  if (kind === "checked_in" && reply.data.index !== placeOf(round, closed) - 1) return "denied";
  return signed.includes(null) ? "unsigned" : "good";
}

/** Puts the receipts of the two rounds, and what was found, into the language of the page; only what changes is touched. */
export function show() {
  const shown = mine().filter((one) => days.includes(one.round) || found.has(one.receipt.leaf));
  const lines = shown.map((one) => {
    const [good, name] = SENTENCES[one.good ? "good" : (found.get(one.receipt.leaf) ?? "kept")];
    return { one, good, text: t(name, one.round, t(one.kind === "stake" ? "receipt_stake" : "receipt_checked_in")) };
  });
  find("receipts-card").hidden = lines.length === 0;
  const said = lines.map(({ text }) => text).join("\n");
  if (find("receipts").dataset.said === said) return;
  find("receipts").dataset.said = said;
  find("receipts").replaceChildren(...lines.map(line));
}

function line({ one, good, text }) {
  const button = make("button", "save", t("receipt_save"));
  button.type = "button";
  button.setAttribute("aria-label", `${t("receipt_save")}: ${text}`);
  button.addEventListener("click", () => save(one));
  return make("li", good === null ? "none" : good ? "good" : "bad", text, ...(SAVES ? [" ", button] : []));
}

/** As a file: the receipt as it came, which `clock verify --receipt` reads. */
function save({ round, kind, receipt }) {
  const file = new Blob([JSON.stringify(receipt, null, 2)], { type: "application/json" });
  const link = make("a", "");
  Object.assign(link, { href: URL.createObjectURL(file), download: `${round}-${kind}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
