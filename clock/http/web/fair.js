/** How a pot is split, computed here as docs/split.md says it: whoever has the seed gets the list of packets.
 *  Amounts are BigInt: products of a word of 64 bits and an amount are exact. */

const DOMAIN = new TextEncoder().encode("clock/split/v1");
const LANES = 17; // of 64 bits, in a block of SHAKE-256

/** Keccak's constants (FIPS 202, 3.2.5) as pairs of the high and the low half. */
const ROUNDS = [
  [0, 0x1], [0, 0x8082], [1, 0x808a], [1, 0x80008000], [0, 0x808b], [0, 0x80000001], [1, 0x80008081], [1, 0x8009],
  [0, 0x8a], [0, 0x88], [0, 0x80008009], [0, 0x8000000a], [0, 0x8000808b], [1, 0x8b], [1, 0x8089], [1, 0x8003],
  [1, 0x8002], [1, 0x80], [0, 0x800a], [1, 0x8000000a], [1, 0x80008081], [1, 0x8080], [0, 0x80000001], [1, 0x80008008],
].map(([high, low]) => [high << 31, low]);

/** Of each lane in turn: where it goes, and by how much it is rotated (3.2.2 and 3.2.3). */
const MOVES = [[0, 0, 0]];
for (let t = 0, x = 1, y = 0; t < 24; t++) {
  const to = [y, (2 * x + 3 * y) % 5];
  MOVES.push([x + 5 * y, to[0] + 5 * to[1], (((t + 1) * (t + 2)) / 2) % 64]);
  [x, y] = to;
}

/** The lower half of a lane that is rotated to the left; with the halves swapped, the upper one. */
function turned(low, high, by) {
  if (by === 0) return low;
  if (by < 32) return (low << by) | (high >>> (32 - by));
  return by === 32 ? high : (high << (by - 32)) | (low >>> (64 - by));
}

function permute(low, high) {
  const [c, d, e, f] = [0, 0, 0, 0].map(() => new Int32Array(25));
  for (const [upper, lower] of ROUNDS) {
    for (let x = 0; x < 5; x++) {
      c[x] = low[x] ^ low[x + 5] ^ low[x + 10] ^ low[x + 15] ^ low[x + 20];
      d[x] = high[x] ^ high[x + 5] ^ high[x + 10] ^ high[x + 15] ^ high[x + 20];
    }
    for (let x = 0; x < 5; x++) {
      const [before, after] = [(x + 4) % 5, (x + 1) % 5];
      const [lows, highs] = [c[before] ^ turned(c[after], d[after], 1), d[before] ^ turned(d[after], c[after], 1)];
      for (let y = x; y < 25; y += 5) [low[y], high[y]] = [low[y] ^ lows, high[y] ^ highs];
    }
    for (const [from, to, by] of MOVES) {
      e[to] = turned(low[from], high[from], by);
      f[to] = turned(high[from], low[from], by);
    }
    for (let y = 0; y < 25; y += 5) {
      for (let x = 0; x < 5; x++) {
        const [next, third] = [y + ((x + 1) % 5), y + ((x + 2) % 5)];
        low[y + x] = e[y + x] ^ (~e[next] & e[third]);
        high[y + x] = f[y + x] ^ (~f[next] & f[third]);
      }
    }
    low[0] ^= lower;
    high[0] ^= upper;
  }
}

/** The output of SHAKE-256 for the domain and a seed, as words of 64 bits, lower byte first, without an end. */
export function* words(seed) {
  const block = new Uint8Array(8 * 25);
  block.set([...DOMAIN, ...seed, 0x1f]);
  block[8 * LANES - 1] |= 0x80;
  const bytes = new DataView(block.buffer);
  const low = Int32Array.from({ length: 25 }, (_, i) => bytes.getInt32(8 * i, true));
  const high = Int32Array.from({ length: 25 }, (_, i) => bytes.getInt32(8 * i + 4, true));
  for (;;) {
    permute(low, high);
    for (let i = 0; i < LANES; i++) yield (BigInt(high[i] >>> 0) << 32n) | BigInt(low[i] >>> 0);
  }
}

/** A million packets take seconds: in between, the page stays alive. */
const AT_ONCE = 20_000;
const breathe = () => new Promise((done) => setTimeout(done));

/** The list of packets: of 32 drawn bytes, a pot in fen, the number of winners, and the round's rules. */
export async function split(seed, pot, winners, rules) {
  const all = BigInt(winners);
  const stream = words(seed);
  const draw = (below) => (stream.next().value * below) >> 64n;
  const lucky = all < BigInt(rules.lucky_count) ? all : BigInt(rules.lucky_count);
  const part = lucky ? (BigInt(pot) * BigInt(rules.lucky_bps)) / 10_000n / lucky : 0n;
  const rest = BigInt(pot) - lucky * part;
  const packets = [];
  if (rules.split === "random" && rest >= all) {
    let extra = rest - all;
    for (let left = all; left > 0n; left--) {
      const drawn = left > 1n ? draw((2n * extra) / left + 1n) : extra;
      packets.push(1n + drawn);
      extra -= drawn;
      if (packets.length % AT_ONCE === 0) await breathe();
    }
  } else {
    for (let i = 0n; i < all; i++) packets.push((rest + i) / all);
  }
  for (let i = 0; i < lucky; i++) packets[i] += part;
  if (rules.packet_cap_fen) level(packets, BigInt(rules.packet_cap_fen));
  for (let i = winners - 1; i > 0; i--) {
    const j = Number(draw(BigInt(i + 1)));
    [packets[i], packets[j]] = [packets[j], packets[i]];
    if (i % AT_ONCE === 0) await breathe();
  }
  return packets;
}

/** No packet is above the cap: what is cut goes to those below it. */
function level(packets, cap) {
  packets.sort((one, other) => (one < other ? 1 : one > other ? -1 : 0));
  let excess = packets.reduce((sum, packet) => (packet > cap ? sum + packet - cap : sum), 0n);
  for (let i = 0; i < packets.length; i++) {
    const packet = packets[i] < cap ? packets[i] : cap;
    const [room, share] = [cap - packet, excess / BigInt(packets.length - i)];
    const more = room < share ? room : share;
    packets[i] = packet + more;
    excess -= more;
  }
}
