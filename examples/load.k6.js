// The herd at five, for those who have k6 (https://k6.io): check-ins at a planned rate. One file, no modules.
//
//   k6 run -e URL=https://clock.example.org -e SECRET_FILE=/run/secrets/jwt -e FIRST=1000001 -e USERS=10000 \
//          -e RATE=1000 -e SECONDS=10 load.k6.js
//
// k6 counts latency from the sending, and drops what it has no virtual user for: watch dropped_iterations, whose
// threshold below fails the run. `clock load` counts from the planned instant, obeys Retry-After and keeps a journal
// (docs/load-testing.md). The users must be members of yesterday's round, or each of them is told not_joined.

import { check } from "k6";
import crypto from "k6/crypto";
import encoding from "k6/encoding";
import exec from "k6/execution";
import http from "k6/http";
import { Counter } from "k6/metrics";

const URL = __ENV.URL || "http://127.0.0.1:8080";
const FIRST = Number(__ENV.FIRST || 1000001);
const USERS = Number(__ENV.USERS || 1000);
const RATE = Number(__ENV.RATE || 100);
const SECONDS = Number(__ENV.SECONDS || 10);
const SECRET = open(__ENV.SECRET_FILE || "jwt.secret").trim();

const codes = new Counter("codes");

export const options = {
  scenarios: {
    herd: {
      executor: "constant-arrival-rate",
      rate: RATE,
      timeUnit: "1s",
      duration: `${SECONDS}s`,
      preAllocatedVUs: Math.min(2000, RATE),
      maxVUs: 5000,
    },
  },
  thresholds: {
    checks: ["rate>0.99"],
    dropped_iterations: ["count==0"],
    http_req_duration: ["p(99)<500"],
  },
  summaryTrendStats: ["med", "p(90)", "p(99)", "p(99.9)", "max"],
};

const tokens = {};

// HS256, as RFC 7515 says: base64url without padding of header and claims, and their HMAC.
function token(uid) {
  if (!tokens[uid]) {
    const part = (value) => encoding.b64encode(JSON.stringify(value), "rawurl");
    const expires = Math.floor(Date.now() / 1000) + 86400;
    const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: String(uid), role: "user", exp: expires })}`;
    tokens[uid] = `${signed}.${crypto.hmac("sha256", SECRET, signed, "base64rawurl")}`;
  }
  return tokens[uid];
}

export default function () {
  const uid = FIRST + (exec.scenario.iterationInTest % USERS);
  const headers = { Authorization: `Bearer ${token(uid)}`, "Content-Type": "application/json" };
  const reply = http.post(`${URL}/api/check-in`, JSON.stringify({ uid }), { headers });
  let code = "-";
  try {
    code = reply.json("code");
  } catch {
    // not an answer of the service
  }
  codes.add(1, { code: `${reply.status} ${code}` });
  check(reply, { "checked in": () => code === "checked_in" || code === "already_checked_in" });
}
