/** Requests: the envelope, the token, and how often and how politely one asks again. */

import { tab } from "/web/kept.js";
import { language, t } from "/web/texts.js";

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

/** `{token, uid, openId, mobile, nickname}`, or null for a guest. Lives as long as the tab. */
export let caller = tab.get(KEPT);

export function signIn(who) {
  caller = who;
  tab.set(KEPT, who);
  events.dispatchEvent(new Event("caller"));
}

/** `caller`: another user. `expired`: the token is not good any more. `lost`, `away`, `found`: no connection,
 *  a service that cannot answer, and an answer. */
export const events = new EventTarget();

/** The host app opens the page with `#token=…&openId=…&mobile=…&nickname=…`; none of it stays in the address. */
export function takeFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (!given.has("token")) return;
  history.replaceState(null, "", location.pathname + location.search);
  const who = Object.fromEntries(["token", "openId", "mobile", "nickname"].map((name) => [name, given.get(name) ?? ""]));
  try {
    const claims = JSON.parse(atob(who.token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    signIn({ ...who, uid: Number(claims.sub) });
  } catch {
    signIn(null);
  }
}

/** One request; its envelope. Throws `Lost` or `Later`; a refusal is an answer. */
export async function send(method, path, body) {
  const headers = { "accept-language": language };
  if (caller) headers.authorization = `Bearer ${caller.token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let reply, envelope;
  const patience = new AbortController(); // AbortSignal.timeout came with iOS 16
  const timer = setTimeout(() => patience.abort(), TIMEOUT_MS);
  try {
    const options = { method, headers, cache: "no-store", signal: patience.signal };
    reply = await fetch(path, body === undefined ? options : { ...options, body: JSON.stringify(body) });
    envelope = await reply.json();
    if (typeof envelope.code !== "string") throw new TypeError("not the envelope");
  } catch (error) {
    events.dispatchEvent(new Event(navigator.onLine ? "away" : "lost"));
    throw new Lost(String(error));
  } finally {
    clearTimeout(timer);
  }
  events.dispatchEvent(new Event(envelope.code === "unavailable" ? "away" : "found"));
  if (caller && envelope.code === "unauthenticated") {
    signIn(null);
    events.dispatchEvent(new Event("expired"));
  }
  if (reply.status === 429 || reply.status === 503) {
    throw new Later(envelope.message, Number(reply.headers.get("retry-after")) || 2, envelope.code !== "unavailable");
  }
  return envelope;
}

/** A verb of the caller's; of nobody's, if the token has expired meanwhile: it is refused. */
export const verb = (path, body = {}) => send("POST", path, { uid: caller?.uid, ...body });

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
  const who = caller;
  for (let tries = 1; who === caller; tries++) {
    try {
      const answer = await ask();
      if (who === caller) return answer;
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
