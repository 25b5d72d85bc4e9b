/** The red packet: the moment of opening it. */

import { Later, Lost, session, persist, sleep, verb } from "/web/api.js";
import { calm, closeDialog, find, make, openDialog, put, roll } from "/web/dom.js";
import { noPacket } from "/web/result.js";
import { price, t, yuan } from "/web/texts.js";

const SPARKS = 26;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 15_000;

let onClaimed = () => {};
let onClosed = () => {};
let wayOut = () => "push";
let asking = false;

/** `claimed(assign)` hears of an acknowledged claim at once, `closed(opened)` when the dialog goes. `way()`: how it
 *  leaves, `push` or `pull`. */
export function prepare(claimed, closed, way) {
  [onClaimed, onClosed, wayOut] = [claimed, closed, way];
  find("packet-open").addEventListener("click", open);
  for (const id of ["packet-done", "packet-close"]) find(id).addEventListener("click", close);
  find("packet").addEventListener("close", () => onClosed(find("packet").dataset.step === "open"));
}

export const close = () => closeDialog(find("packet"));

/** The sealed packet. */
export function offer() {
  const dialog = find("packet");
  if (asking) dialog.dataset.step = "opening";
  else delete dialog.dataset.step;
  put(find("packet-text"), t(asking ? "packet_opening" : "packet_wait"));
  put(find("packet-parts"), "");
  put(find("packet-money"), "0.00");
  find("packet-sum").hidden = find("packet-done").hidden = true;
  find("packet-open").hidden = false;
  find("sparks").replaceChildren();
  openDialog(dialog);
  find("packet-open").focus();
}

/** Asks for the packet; it opens only when the service has said what is in it. */
async function open() {
  if (asking) return;
  asking = true;
  const dialog = find("packet");
  dialog.dataset.step = "opening";
  put(find("packet-text"), t("packet_opening"));
  try {
    const reply = await persist(claim, (text) => put(find("packet-text"), text));
    if (reply.status === 1) reveal(reply.data.assign);
    else refuse(reply.message);
  } catch (error) {
    if (!(error instanceof Lost || error instanceof Later)) throw error;
    refuse(t("gave_up"));
  } finally {
    asking = false;
  }
}

/** A claim; while the settlement is at work it is asked again, ever more rarely: everybody waits for the same thing. */
async function claim() {
  const who = session.caller;
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(LONGEST_WAIT_MS, wait * 1.5)) {
    const reply = await verb("/api/claim");
    if (reply.code !== "not_settled") return reply;
    put(find("packet-text"), t("packet_settling"));
    await sleep(wait * (0.8 + 0.4 * Math.random()));
    if (who !== session.caller) throw new Lost("another user is here");
  }
}

function refuse(message) {
  delete find("packet").dataset.step;
  put(find("packet-text"), message);
}

function reveal(assign) {
  find("packet").dataset.step = "open";
  find("packet-open").hidden = true;
  find("packet-sum").hidden = find("packet-done").hidden = false;
  put(find("packet-text"), assign.money ? t("packet_got") : noPacket(null));
  put(find("packet-parts"), t(`packet_parts_${wayOut()}`, price(assign.money), price(assign.stake), price(assign.total)));
  roll(find("packet-money"), 0, yuan);
  roll(find("packet-money"), assign.money, yuan);
  if (assign.money && !calm()) sparkle();
  find("packet-done").focus();
  onClaimed(assign);
}

/** Says why an opened packet is empty, as soon as the service has said it. */
export function explain(claimed, result) {
  if (find("packet").dataset.step !== "open" || claimed?.assign.money || claimed?.round !== result?.round) return;
  put(find("packet-text"), noPacket(result?.sleepers ?? null));
}

/** Gold dust; decoration only. */
function sparkle() {
  for (let i = 0; i < SPARKS; i++) {
    const spark = make("i");
    spark.style.setProperty("--x", `${Math.round(Math.random() * 320 - 160)}px`);
    spark.style.setProperty("--y", `${Math.round(-60 - Math.random() * 240)}px`);
    spark.style.setProperty("--late", `${Math.round(Math.random() * 250)}ms`);
    spark.style.setProperty("--turn", `${Math.round(Math.random() * 720 - 360)}deg`);
    find("sparks").append(spark);
  }
}
