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
/** Who waited for the round to come out asks for paths within so much more for each of its members. A path costs the service 4 ms. */
const MEMBER_MS = 10;
const LONGEST_SPREAD_MS = 300_000;
const OUT = new Set(["settled", "finished", "void"]);
const SAVES = "download" in HTMLAnchorElement.prototype;

/** Names of the trees in C, and of the answers that deny a leaf. */
const TREES = { stake: "stakes", checked_in: "checked_in" };
const DENIED = new Set(["not_joined", "not_checked_in"]);

const SENTENCES = {
  kept: [null, "receipt_kept"], good: [true, "receipt_good"], unsigned: [null, "receipt_unsigned"], unknown: [null, "receipt_unknown"],
  unable: [null, "receipt_unable"], void: [null, "receipt_void"], denied: [false, "receipt_denied"], forged: [false, "receipt_forged"],
};

/** What was asked for, by the caller: another user, or the same one with a new token, asks anew. */
const asked = new WeakMap();
/** The leaves that are or were checked here, and what was found. What is good is kept with the receipt. */
const checked = new Set();
const found = new Map();
/** Rounds that were not out yet when this page looked. */
const awaited = new Set();
let days = [];

const mine = () => (device.get(KEPT) ?? []).filter((one) => one.uid === session.caller?.uid);

/** Kind, round and user that a leaf speaks of. */
function about({ leaf }) {
  const [head, round, , third, fourth] = leaf.split("\n");
  const kind = head.replace("clock/leaf/v1 ", "");
  return { kind, round, uid: Number(kind === "stake" ? third : fourth) };
}

/** Keeps a receipt of the caller's, and whether it was found good. The oldest goes. */
export function keep(receipt, good = false) {
  if (![receipt?.leaf, receipt?.note].every((text) => typeof text === "string") || !Array.isArray(receipt.path)) return;
  const of = about(receipt);
  if (of.uid !== session.caller?.uid || !KINDS.includes(of.kind)) return;
  const all = device.get(KEPT) ?? [];
  const at = all.findIndex((one) => one.receipt.leaf === receipt.leaf);
  all[at < 0 ? all.length : at] = { ...of, receipt, good };
  device.set(KEPT, all.slice(-MOST_KEPT));
  show();
}

/** Asks for the caller's receipts of a round that this device does not have. */
export function complete(round, kinds) {
  const before = asked.get(session.caller) ?? new Set();
  asked.set(session.caller, before);
  for (const kind of kinds) {
    const name = `${round} ${kind}`;
    if (before.has(name) || mine().some((one) => one.round === round && one.kind === kind)) continue;
    before.add(name);
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

/** The shown round, and that whose check-in was this morning. The receipts of the last rounds that are out are checked,
 *  once an opening, until they are found good. */
export function look(round, morning) {
  days = [round, morning?.round];
  show();
  if (!morning) return;
  const isOut = (day) => day < morning.round || (day === morning.round && OUT.has(morning.state));
  if (!isOut(morning.round)) awaited.add(morning.round);
  const out = mine().filter((one) => isOut(one.round));
  for (const day of [...new Set(out.map((one) => one.round))].sort().slice(-MOST_CHECKED)) {
    const open = out.filter((one) => one.round === day && !one.good && !checked.has(one.receipt.leaf));
    for (const one of open) checked.add(one.receipt.leaf);
    if (open.length) check(day, open);
  }
}

async function check(day, open) {
  const who = session.caller;
  await sleep(SPREAD_MS * Math.random()); // everybody's round is published at one instant
  const proof = canHash() ? await answer(`/api/rounds/${day}/proof`) : null;
  for (const one of open) {
    const word = canHash() ? await judge(one, proof) : "unable";
    if (who !== session.caller) checked.delete(one.receipt.leaf); // it may have been another's path
    else found.set(one.receipt.leaf, word);
    if (word === "good" && who === session.caller) keep(one.receipt, true);
  }
  show();
}

const answer = (path) => orNull(persist(() => send("GET", path), () => {}));

/** The place in the lists of winners and packets, from 1, that a leaf of a winner has by C. */
function placeIn(leaf, closed) {
  const [, , shard, rank] = leaf.split("\n").map(Number);
  const shards = [...(valuesOf(closed, "closed")?.shards ?? "").matchAll(/\[\d+,(\d+)\]/g)];
  return shards.slice(0, shard).reduce((sum, [, winners]) => sum + Number(winners), rank);
}

/** The place that the caller's receipt gives; null without a receipt. */
export function placeOf(round, closed) {
  const kept = mine().filter((one) => one.round === round && one.kind === "checked_in").pop();
  return kept && closed ? placeIn(kept.receipt.leaf, closed) : null;
}

/** What an answer says of a receipt; one that does not come, or cannot be read, says nothing. */
async function judge(one, proof) {
  if (proof?.status !== 1) return "unknown";
  try {
    return await judged(one, proof.data.statements, await keysFor(proof.data));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return "unknown";
  }
}

/** The receipt's own batch, its signature, and its leaf in the tree of C, a winner's at its place. */
async function judged({ kind, round, receipt }, statements, keys) {
  const batch = valuesOf(receipt.note, kind);
  if (batch?.round !== round || batch.leaves !== (await rootOf(receipt))) return "forged";
  const stated = statements.void ?? statements.closed;
  const signed = await Promise.all([receipt.note, stated].filter(Boolean).map((note) => isSigned(note, keys)));
  if (signed.includes(false)) return "forged";
  if (statements.void) return "void";
  if (!stated) return "unknown";
  const members = Number(valuesOf(stated, "closed")?.members);
  if (awaited.has(round)) await sleep(Math.min(LONGEST_SPREAD_MS, MEMBER_MS * members) * Math.random());
  const reply = await answer(`/api/rounds/${round}/proof/${kind}`);
  if (DENIED.has(reply?.code)) return "denied";
  if (reply?.status !== 1) return "unknown";
  const { leaf, index } = reply.data;
  const isInPlace = kind === "stake" || index === placeIn(leaf, stated) - 1;
  const isStated = valuesOf(stated, "closed")?.[TREES[kind]] === (await rootOf(reply.data));
  if (leaf !== receipt.leaf || !isInPlace || !isStated) return "denied";
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
