/** Signed notes (https://c2sp.org/signed-note), their lines, and trees, as docs/fair.md has them. What a browser cannot
 *  compute is null and no error: SHA-256 wants a secure page, Ed25519 a browser of 2025. */

export const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));

export const hex = (some) => Array.from(some, (byte) => byte.toString(16).padStart(2, "0")).join("");

export const utf8 = (text) => new TextEncoder().encode(text);

export const canHash = () => Boolean(globalThis.crypto?.subtle);

/** Of all parts in a row. Only where `canHash()`. */
export async function sha256(...parts) {
  const whole = Uint8Array.from(parts.reduce((all, part) => [...all, ...part], []));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
}

/** The bytes of a base64 text; none where it is not one. */
function unpacked(text) {
  try {
    return Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0));
  } catch {
    return new Uint8Array(0);
  }
}

export const textOf = (note) => note.slice(0, note.lastIndexOf("\n\n") + 1);

/** H of a note in hexadecimal. */
export const hashOf = async (note) => hex(await sha256(utf8(textOf(note))));

const RECEIPTS = ["clock.receipts.v1/", "origin round signed_ms leaves"];
const FORMS = {
  opened: ["clock.statement.v1/", "origin round seed_hash rules windows beacon"],
  closed: [
    "clock.statement.v1/",
    "origin round opened previous closed_ms closes_ms shards members winners late pool_fen refunded_fen forfeited_fen fee_fen carried_in_fen bonus_fen pot_fen stakes checked_in",
  ],
  published: ["clock.statement.v1/", "origin round closed seed beacon drawn split packets carried_out_fen bonus_back_fen"],
  stake: RECEIPTS,
  checked_in: RECEIPTS,
};

/** The values of a note by name; null where it is of another kind, or has other lines, or in another order. */
export function valuesOf(note, kind) {
  const [version, names] = FORMS[kind];
  const [head, ...lines] = textOf(note).split("\n");
  const pairs = lines.slice(0, -1).map((line) => [line.split(": ", 1)[0], line.slice(line.indexOf(": ") + 2)]);
  if (head !== version + kind || pairs.map(([name]) => name).join(" ") !== names) return null;
  return Object.fromEntries(pairs);
}

/** Test 1 of RFC 8032, 7.1: the key, and its signature of nothing. */
const [KNOWN_KEY, KNOWN_SIGNATURE] = [
  "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
].map(bytes);

async function accepts(key, signature, text) {
  try {
    const known = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", known, signature, text);
  } catch {
    return false;
  }
}

/** Whether this browser verifies Ed25519: it is asked with an answer that is known. */
export const canVerify = async () => canHash() && accepts(KNOWN_KEY, KNOWN_SIGNATURE, new Uint8Array(0));

/** A key as it is written, `<name>+<id>+<base64>`, or null where its id is not its own. */
async function keyOf(written) {
  const [, name, id, content] = written.match(/^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/) ?? [];
  const key = unpacked(content ?? "");
  if (key.length !== 33 || key[0] !== 1) return null;
  return hex((await sha256(utf8(`${name}\n`), key)).slice(0, 4)) === id ? { name, id, bytes: key.slice(1) } : null;
}

/** Whether a key of its origin has signed a note, and each of these keys that is named has: null where it cannot be
 *  known here. `keys` as they are written. */
export async function isSigned(note, keys) {
  if (!(await canVerify())) return null;
  const known = (await Promise.all(keys.map(keyOf))).filter(Boolean);
  const text = textOf(note);
  const [, origin] = text.match(/^origin: (\S+)$/m) ?? [];
  let signed = false;
  for (const line of note.slice(text.length + 1).split("\n")) {
    const [, name, encoded] = line.match(/^— (\S+) (\S+)$/) ?? [];
    const content = unpacked(encoded ?? "");
    const key = known.find((one) => one.name === name && one.id === hex(content.slice(0, 4)));
    if (!key) continue;
    if (!(await accepts(key.bytes, content.slice(4), utf8(text)))) return false;
    signed = signed || name === origin;
  }
  return signed;
}

/** Size and root to which a leaf leads, as statements have them; null where the path does not fit (RFC 9162, 2.1.3.2). */
export async function rootOf({ leaf, index, size, path }) {
  let [place, last] = [index, size - 1];
  if (!(place >= 0 && place <= last)) return null;
  let root = await sha256([0], utf8(leaf));
  for (const step of path.map(bytes)) {
    if (last === 0) return null;
    const isRight = place % 2 === 1 || place === last;
    root = await (isRight ? sha256([1], step, root) : sha256([1], root, step));
    for (; isRight && place % 2 === 0 && place > 0; last >>= 1) place >>= 1;
    [place, last] = [place >> 1, last >> 1];
  }
  return last === 0 ? `${size} ${btoa(String.fromCharCode(...root))}` : null;
}
