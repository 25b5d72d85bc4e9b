/** Joining and paying: the host is asked to take the money, and only the service says that it has arrived. */

import { orNull, persist, session, sleep, verb } from "/web/api.js";
import { tab } from "/web/kept.js";
import { payHere } from "/web/provider.js";

const PAYING = "clock.paying";
const CONFIRM_MS = 1_000;
const CONFIRM_TRIES = 30;
/** A tap so soon after another one is the same tap. */
const SAME_TAP_MS = 1_200;

/** The order that was handed over last, and when. */
let handed = { order_no: "", at: 0 };

/** The number of the order of which the host said that it is paid; it outlives the page: paying may lead away from it. */
export function underWay() {
  const kept = tab.get(PAYING);
  return kept && kept.uid === session.caller?.uid ? kept : null;
}

/** Where the user pays, in the words of `/api/pay`: the host says it, or the browser shows it. */
function howOf({ how }) {
  if (how) return how;
  if (/MicroMessenger/i.test(navigator.userAgent)) return "jsapi";
  return /Mobi|Android/i.test(navigator.userAgent) ? "h5" : "native";
}

/** Orders, or asks for the order that is open, and hands it to whoever can take the money. `done` is called once the
 *  host says that it is paid. Answers the reply that decides, and the name of the sentence that says what is missing,
 *  "" where somebody took the order. */
export async function order(say, ordered, done) {
  const { mobile, nickname, openId } = session.caller;
  const reply = await persist(() => verb("/api/join", { extra: { mobile, nickname, openId } }), say);
  if (reply.status !== 1) return { reply, missing: "" };
  ordered(reply.data);
  const now = performance.now();
  if (handed.order_no === reply.data.order_no && now - handed.at < SAME_TAP_MS) return { reply, missing: "" };
  handed = { order_no: reply.data.order_no, at: now };
  const prepared = await prepare(reply.data);
  const { data } = prepared.reply ?? {};
  const paid = () => void done(reply.data);
  if (data?.pay) return { reply, missing: handOver({ ...reply.data, pay: data.pay, done: paid }) ? "" : "no_payer" };
  handed = { order_no: "", at: 0 }; // nobody has it: the next tap asks again
  if (prepared.reply?.code === "already_paid") paid();
  return { reply: prepared.reply ?? reply, missing: prepared.reply ? "" : "not_prepared" };
}

/** What is needed to pay: the order has it, or the provider is asked for it, once. `reply`: null where none came. */
async function prepare({ order_no, pay }) {
  if (!pay.call) return { reply: { status: 1, data: { pay } } };
  const reply = await orNull(verb(pay.call, { order_no, how: howOf(session.caller) }));
  if (reply?.code === "ok") reply.data.pay = { channel: reply.data.channel, ...reply.data.pay };
  return { reply };
}

/** To the host; where there is none, to the provider itself. Whether anybody took it. */
function handOver(detail) {
  return !dispatchEvent(new CustomEvent("clock:pay", { detail, cancelable: true })) || payHere(detail.pay, detail.done);
}

/** Asks until `state()` of the order is not `open` any more: `paid`, `checking` or `gone`; `open` when nothing has come
 *  after half a minute. */
export async function confirm(paid, round, poll, state) {
  const mine = { uid: session.caller?.uid, order_no: paid.order_no, round };
  tab.set(PAYING, mine);
  let found = "open";
  for (let tries = 0; tries < CONFIRM_TRIES && mine.uid === session.caller?.uid; tries++) {
    await poll();
    found = state(mine);
    if (found !== "open") break;
    await sleep(CONFIRM_MS * (0.8 + 0.4 * Math.random()));
  }
  if (mine.uid === session.caller?.uid) tab.set(PAYING, null);
  return found;
}
