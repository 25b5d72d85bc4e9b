/** A round's statements, held against one another, against what is public, and against what this device saw before. */

import { notedOf } from "/web/noted.js";
import { bytes, hashOf, hex, isSigned, sha256, utf8, valuesOf } from "/web/notes.js";

/** What P says instead of a draw that was not to be had, or that was known before C. */
const NO_DRAW = ["missing", "late"];
const DRAW = /^[0-9a-f]{96}$/;

/** What is drawn, in hexadecimal: the seed, mixed with the beacon's signature, if there is one, and with C. Rounds
 *  without statements are drawn by their seed. */
export async function drawnOf({ seed }, { closed, published }) {
  if (!closed) return seed;
  const beacon = published?.match(/^beacon: ([0-9a-f]{96})$/m)?.[1] ?? "";
  return hex(await sha256(utf8("clock/seed/v2"), bytes(seed + beacon), bytes(await hashOf(closed))));
}

/** Why there was no draw, by P; "" where there was one, or none was promised. */
export function undrawn({ published }) {
  const said = published && valuesOf(published, "published");
  return said && NO_DRAW.includes(said.beacon) ? said.beacon : "";
}

/** What is other than in the rules where there was no draw: equal packets, and no lucky ones. */
export const wayOf = (statements) => (undrawn(statements) ? { split: "equal", lucky_count: 0 } : {});

/** The same text for the same JSON. */
const canonical = (json) => JSON.stringify(json, (_, value) =>
  value && typeof value === "object" && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort()) : value,
);

function isJson(text, json) {
  try {
    return canonical(JSON.parse(text)) === canonical(json);
  } catch {
    return false;
  }
}

/** Whether each of these names has the same value in a statement as in the public answer. */
const agree = (said, one, names) => names.every((name) => said[name] === String(one[name.replace(/_fen$/, "")]));

const SUMS = ["pool_fen", "refunded_fen", "forfeited_fen", "fee_fen", "carried_in_fen", "bonus_fen", "pot_fen"];

/** Steps as those of check.js: promised before, one to the next, the same as public, signed; and what to look up. */
export async function stated(one, { opened, closed, published }, keys) {
  const before = notedOf(one.day).opened;
  if (!opened) return before ? [[false, "fair_not_opened"]] : [];
  const promised = before ? before === (await hashOf(opened)) : null;
  const said = { o: valuesOf(opened, "opened"), c: closed && valuesOf(closed, "closed"), p: published && valuesOf(published, "published") };
  const { o, c, p } = said;
  const ofRound = o && c && p && [o, c, p].every((values) => values.round === one.day);
  const linked = ofRound && c.opened === (await hashOf(opened)) && p.closed === (await hashOf(closed)) && fits(o.beacon, p.beacon);
  const same = ofRound && isJson(o.rules, one.rules) && o.seed_hash === one.seed_hash && p.split === { ...one.rules, ...wayOf({ published }) }.split
    && agree(c, one, ["members", "winners", "late", ...SUMS]) && agree(p, one, ["seed", "drawn", "carried_out_fen", "bonus_back_fen"]);
  const signed = await Promise.all([opened, closed, published].filter(Boolean).map((note) => isSigned(note, keys)));
  const isKnown = signed.includes(false) ? false : signed.includes(null) ? null : true;
  return [
    [promised, promised ? "fair_opened" : promised === null ? "fair_never_opened" : "fair_not_opened"],
    [Boolean(linked), linked ? "fair_linked" : "fair_not_linked"],
    [Boolean(same), same ? "fair_stated" : "fair_not_stated"],
    [isKnown, isKnown ? "fair_signed" : isKnown === null ? "fair_no_signatures" : "fair_not_signed"],
    ...(linked && DRAW.test(p.beacon) ? [lookUp(o.beacon, p.beacon)] : []),
  ];
}

/** Whether P's beacon answers that of O. */
const fits = (promised, drawn) => (promised === "none" ? drawn === "none" : NO_DRAW.includes(drawn) || DRAW.test(drawn));

/** The draw's signature is of a kind that browsers do not know: where anybody can look it up. */
function lookUp(promised, drawn) {
  const [name, chain, number] = promised.split(" ");
  const [link, begin] = [`https://api.drand.sh/${chain}/public/${number}`, drawn.slice(0, 16)];
  return [null, "fair_beacon", ...[name, number, link, begin].map((text) => () => text)];
}
