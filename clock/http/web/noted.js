/** What this device saw of a round before it was settled, to be held against what is shown afterwards; and the keys by
 *  which the service signed when it was first seen here. */

import { orNull, send, session, sleep } from "/web/api.js";
import { device } from "/web/kept.js";
import { canHash, hashOf, isSigned } from "/web/notes.js";

const SEEDS = "clock.seeds";
const OPENED = "clock.opened";
const KEYS = "clock.keys";
const MOST_NOTED = 14;
const MOST_KEYS = 8;
const LATER_MS = 1_000;

const asked = new Set();

/** Writes a round's value down; what was written first stays. */
function write(name, day, value) {
  const noted = device.get(name) ?? {};
  if (!value || day in noted) return;
  const days = Object.keys(noted).sort().slice(1 - MOST_NOTED);
  device.set(name, { ...Object.fromEntries(days.map((one) => [one, noted[one]])), [day]: value });
}

/** `{seed, opened}` of a round as they were noted: the seed's fingerprint, and H(O); undefined where nothing was. */
export const notedOf = (day) => ({ seed: device.get(SEEDS)?.[day], opened: device.get(OPENED)?.[day] });

/** Notes the shown round. Its promise has to be asked for, once, and not while everybody checks in. */
export async function note({ round, seed_hash }, isRush) {
  write(SEEDS, round, seed_hash);
  if (!session.caller || isRush || !canHash() || asked.has(round) || notedOf(round).opened) return;
  asked.add(round);
  await sleep(LATER_MS * (1 + Math.random()));
  const reply = await orNull(send("GET", `/api/rounds/${round}/proof`, undefined, true));
  if (reply?.status !== 1) return;
  const { opened, published } = reply.data.statements;
  await keysFor(reply.data);
  if (opened && !published) write(OPENED, round, await hashOf(opened));
}

/** The keys that this device goes by: those that it saw first, and each that has signed a note beside one of them since.
 *  While keys change, a round has notes from before, which the new one has not signed. */
export async function keysFor({ keys, statements }) {
  const known = device.get(KEYS) ?? [];
  const notes = Object.values(statements).filter(Boolean);
  const signedBy = (some) => Promise.all(notes.map((one) => isSigned(one, some)));
  const isOld = known.length > 0 && notes.length > 0 && (await signedBy(known)).every(Boolean);
  let all = known;
  for (const key of keys.filter((one) => !known.includes(one))) {
    if (known.length === 0 || (isOld && (await signedBy([key])).some(Boolean))) all = [...all, key].slice(-MOST_KEYS);
  }
  if (all !== known) device.set(KEYS, all);
  return all;
}
