/** The service's clock. The phone's own clock is never asked what time it is, only how much has passed. */

const KEEP_MS = 60_000;
const JUMP_MS = 1_000;

let ahead = null;
let error = 0;
let heardAt = 0;

/** Learn from an answer's `server_time` and the instants (`performance.now()`) at which it was asked and had. */
export function learn(serverTime, asked, had) {
  const offset = serverTime - (asked + had) / 2;
  const doubt = (had - asked) / 2;
  const stale = had - heardAt > KEEP_MS;
  if (ahead === null || stale || doubt <= error || Math.abs(offset - ahead) > JUMP_MS + doubt) {
    [ahead, error, heardAt] = [offset, doubt, had];
  }
}

/** The steady clock may have stood still: what was learnt says nothing any more. */
export function forget() {
  ahead = null;
}

export const known = () => ahead !== null;

/** The service's time in ms. */
export const now = () => performance.now() + (ahead ?? 0);

let zone = "Asia/Shanghai";
const formats = new Map();

export function useZone(name) {
  if (name === zone) return;
  zone = name;
  formats.clear();
}

function format(locale, options) {
  const key = locale + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(locale, { timeZone: zone, ...options }));
  return formats.get(key);
}

/** The game's date of an instant, `YYYY-MM-DD`. */
export const dayOf = (ms) => format("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit" }).format(ms);

/** The game's time of day of an instant, `HH:MM:SS`. */
export const timeOf = (ms) => format("sv-SE", { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(ms);

/** `HH:MM` or `HH:MM:SS` in ms since midnight. */
export function sinceMidnight(text) {
  const [hours, minutes, seconds = 0] = text.split(":").map(Number);
  return ((hours * 60 + minutes) * 60 + seconds) * 1000;
}
