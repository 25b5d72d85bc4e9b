/** The way out of the balance: what is in it and why, withdrawing it, and confirming where the user has to. */

import { Later, Lost, persist, session, sleep, verb } from "/web/api.js";
import { find, put } from "/web/dom.js";
import { confirmHere } from "/web/provider.js";
import { price, t } from "/web/texts.js";

/** A user who did not confirm in time, in a provider's words. */
const LAPSED = /\bOVERDUE_CLOSE\b/;

/** What `/api/me` has said last; null: nothing. */
let known = null;
const LOOK_MS = 1_000;
const LOOKS = 10;

let look = () => {};
let onChanged = () => {};
let asking = false;

/** `again` asks what `/api/me` says; `changed` hears that money has moved. */
export function prepare(again, changed) {
  [look, onChanged] = [again, changed];
  find("withdraw").addEventListener("click", tap);
}

/** Whether something is under way, of which `/api/me` will say more. */
export const isMoving = () => Boolean(known?.withdraw.open);

/** `undefined`: what is known holds. */
export function show(me) {
  if (me === undefined) return;
  const was = known?.withdraw.open;
  if (was && was.no !== me?.withdraw.open?.no) say("");
  known = me;
  render();
}

function say(text, bad = false) {
  find("withdraw-said").classList.toggle("bad", bad);
  put(find("withdraw-said"), text);
}

function render() {
  find("balance-card").hidden = !known || (known.info.balance === 0 && !known.withdraw.open);
  if (!known) return;
  const { balance } = known.info;
  const { open, way, minimum_fen } = known.withdraw;
  put(find("balance"), price(balance));
  put(find("balance-why"), `${t(`balance_${way}`)} ${t("balance_kept", price(minimum_fen))}`);
  put(find("withdraw-state"), stateOf(balance, known.withdraw));
  const button = find("withdraw");
  button.hidden = open ? !open.confirm : balance < minimum_fen;
  button.setAttribute("aria-disabled", String(asking));
  put(button, asking ? t("sending") : open ? t("withdraw_confirm", price(open.amount)) : t("withdraw", price(balance)));
}

/** Where the money is, in a sentence or two. */
function stateOf(balance, { open, minimum_fen, reason }) {
  if (open) return t(open.confirm ? "withdraw_waits" : "withdraw_open", price(open.amount), t(`state_${open.state}`));
  const lines = [];
  if (reason) lines.push(LAPSED.test(reason) ? t("withdraw_lapsed") : t("withdraw_failed", reason));
  if (balance < minimum_fen) lines.push(t("withdraw_below", price(minimum_fen), price(minimum_fen - balance)));
  return lines.join(" ");
}

async function tap() {
  if (asking || !known) return;
  const who = session.caller;
  const { open } = known.withdraw;
  if (open?.confirm) return confirm(open);
  asking = true;
  render();
  try {
    const reply = await persist(() => verb("/api/withdraw"), say);
    const { withdrawal } = reply.data;
    say(reply.message, reply.status !== 1);
    if (withdrawal?.confirm) confirm(withdrawal);
    else if (withdrawal) follow(withdrawal.no);
  } catch (error) {
    if (!(error instanceof Lost || error instanceof Later)) throw error;
    if (who === session.caller) say(t("gave_up"), true);
  } finally {
    asking = false;
    if (who === session.caller) await onChanged();
    render();
  }
}

/** Looks again for a while: until it has ended, or its user has to confirm it. `confirmed`: that has been done. */
async function follow(no, confirmed = false) {
  const who = session.caller;
  const moves = (open) => who === session.caller && open?.no === no && (confirmed || !open.confirm);
  for (let looks = 0; looks < LOOKS && (looks === 0 || moves(known?.withdraw.open)); looks++) {
    await look();
    await sleep(LOOK_MS * (0.8 + 0.4 * Math.random()));
  }
  if (who === session.caller) onChanged();
}

/** The provider asks the user itself: the host shows it, or WeChat's browser. */
function confirm({ no, amount, confirm }) {
  const detail = { no, amount, confirm, done: () => void follow(no, true) };
  const taken = !dispatchEvent(new CustomEvent("clock:confirm", { detail, cancelable: true })) || confirmHere(confirm, detail.done);
  if (!taken) say(t("no_confirmer"), true);
}
