/** Requests of an operator: the token is kept in the tab's session storage, and never in the address. */

import { tongue } from "/web/texts.js";

const KEPT = "clock.operator";
const TIMEOUT_MS = 30_000;

let token = sessionStorage.getItem(KEPT) ?? "";
let inside = false;

export const signedIn = () => token !== "";

export function keep(given) {
  token = given;
  inside = false;
  if (given) sessionStorage.setItem(KEPT, given);
  else sessionStorage.removeItem(KEPT);
}

/** `lost`, `found`: the connection. `refused`: the token is not good, `detail` says how. */
export const events = new EventTarget();

/** One request; its envelope, or null where no answer came or the token is not good: `events` say so. */
export async function ask(method, path, body) {
  const headers = { "accept-language": tongue.language };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const options = { method, headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) };
  let envelope;
  try {
    const reply = await fetch(path, body === undefined ? options : { ...options, body: JSON.stringify(body) });
    envelope = await reply.json();
    if (typeof envelope.code !== "string") throw new TypeError("not the envelope");
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError || error instanceof DOMException)) throw error;
    events.dispatchEvent(new Event("lost"));
    return null;
  }
  events.dispatchEvent(new Event("found"));
  const lacks = envelope.code === "forbidden" && inside; // one right of an operator's
  if ((envelope.code === "unauthenticated" || envelope.code === "forbidden") && !lacks) {
    inside = false;
    events.dispatchEvent(new CustomEvent("refused", { detail: envelope.code === "forbidden" ? "not_operator" : "expired" }));
    return null;
  }
  inside ||= envelope.status === 1;
  return envelope;
}

/** A file of a GET, or the sentence that says why there is none. */
export async function download(path) {
  try {
    const reply = await fetch(path, { headers: { "accept-language": tongue.language, authorization: `Bearer ${token}` }, cache: "no-store" });
    return reply.ok ? await reply.blob() : (await reply.json()).message;
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError || error instanceof DOMException)) throw error;
    return "";
  }
}

/** The data of a GET, or null where there is none to be had. */
export async function read(path) {
  const reply = await ask("GET", path);
  return reply?.status === 1 ? reply.data : null;
}
