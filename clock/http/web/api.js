/** Requests: the envelope, the token, and how often and how politely one asks again. */

import { tab } from "/web/kept.js";
import { t, tongue } from "/web/texts.js";

const TIMEOUT_MS = 10_000;
const MOST_TRIES = 12;
const LONGEST_WAIT_S = 8;

/** No answer came: nobody knows whether the request arrived. Every verb may be sent again. */
export class Lost extends Error {}

/** The service answered that it cannot answer now, and after how many seconds to come back; `busy`: for others are before. */
export class Later extends Error {
  constructor(message, seconds, busy) {
    super(message);
    this.seconds = seconds;
    this.busy = busy;
  }
}

const KEPT = "clock.caller";

/** What the document's first lines have found out and asked already. */
const first = globalThis.clockFirst;

/** `caller` is `{token, uid, openId, mobile, nickname, how}`, or null for a guest. Lives as long as the tab. */
export const session = { caller: first.caller };

export function signIn(who) {
  session.caller = who;
  tab.set(KEPT, who);
  events.dispatchEvent(new Event("caller"));
}

/** `caller`: another user. `expired`: the token is not good any more, and will be forgotten. `lost`, `away`, `found`:
 *  no connection, a service that cannot answer, and an answer. */
export const events = new EventTarget();

/** The host app opens the page with `#token=…&openId=…&mobile=…&nickname=…&how=…`; none of it stays in the address. */
export function takeFromAddress() {
  const who = first.callerInAddress();
  if (who === undefined) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  signIn(who);
}

/** One request; its envelope. Throws `Lost` or `Later`; a refusal is an answer. `aside`: nobody waits for it, so that nobody
 *  is told where it gets none. */
export async function send(method, path, body, aside = false) {
  const headers = { "accept-language": tongue.language };
  if (session.caller) headers.authorization = `Bearer ${session.caller.token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const patience = new AbortController(); // AbortSignal.timeout came with iOS 16
  const timer = setTimeout(() => patience.abort(), TIMEOUT_MS);
  const options = { method, headers, cache: "no-store", signal: patience.signal };
  try {
    return await envelopeOf(fetch(path, body === undefined ? options : { ...options, body: JSON.stringify(body) }), aside);
  } finally {
    clearTimeout(timer);
  }
}

/** The summary's envelope, and the instant at which it was asked for. The first one is on its way already. */
export async function askSummary() {
  const { caller } = session;
  const early = first.early?.caller?.token === caller?.token ? first.early : null;
  first.early = null;
  const asked = early?.asked ?? performance.now();
  return { asked, reply: await envelopeOf(early?.reply ?? first.ask(caller)) };
}

async function envelopeOf(request, aside = false) {
  const asker = session.caller;
  let reply, envelope;
  try {
    reply = await request;
    envelope = await reply.json();
    if (typeof envelope.code !== "string") throw new TypeError("not the envelope");
  } catch (error) {
    if (!aside) events.dispatchEvent(new Event(navigator.onLine ? "away" : "lost"));
    throw new Lost(String(error));
  }
  const isAway = envelope.code === "unavailable";
  if (!(aside && isAway)) events.dispatchEvent(new Event(isAway ? "away" : "found"));
  if (asker && asker === session.caller && envelope.code === "unauthenticated") {
    events.dispatchEvent(new Event("expired"));
    signIn(null);
  }
  if (reply.status === 429 || reply.status === 503) {
    throw new Later(envelope.message, Number(reply.headers.get("retry-after")) || 2, envelope.code !== "unavailable");
  }
  return envelope;
}

/** A verb of the caller's; of nobody's, if the token has expired meanwhile: it is refused. */
export const verb = (path, body = {}) => send("POST", path, { uid: session.caller?.uid, ...body });

/** What was asked for, or null where no answer came. */
export async function orNull(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Lost || error instanceof Later) return null;
    throw error;
  }
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** A wait of `seconds` and up to half as much again: those who were refused together do not come back together. */
const wait = (seconds) => sleep(seconds * 1000 * (1 + Math.random() / 2));

const online = () => new Promise((done) => addEventListener("online", done, { once: true }));

/** Asks until there is an answer, waiting as long as the service wants; `say` hears why it takes time.
 *  After many tries it throws what it met last. An answer that comes when its asker has gone is nobody's. */
export async function persist(ask, say) {
  const who = session.caller;
  for (let tries = 1; who === session.caller; tries++) {
    try {
      const answer = await ask();
      if (who === session.caller) return answer;
    } catch (error) {
      if (!(error instanceof Lost || error instanceof Later) || tries >= MOST_TRIES) throw error;
      if (error instanceof Later) {
        say(t(error.busy ? "again" : "away_retry", tries));
        await wait(error.seconds);
      } else {
        say(t(navigator.onLine ? "away_retry" : "lost_retry", tries));
        await Promise.race([wait(Math.min(LONGEST_WAIT_S, 2 ** (tries - 1))), online()]);
      }
    }
  }
  throw new Lost("another user is here");
}
