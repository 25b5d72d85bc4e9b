/* Runs before the rest of the page has arrived, and whatever becomes of the rest. It asks for the summary at once, and
   fetches the document again when the service has another one. Written as for the oldest browsers. */
(function () {
  var TIMEOUT_MS = 10000;
  var root = document.documentElement;
  var mine = root.getAttribute("data-page");
  var first = (window.clockFirst = { caller: null, early: null, renewed: false });
  var other = "";

  /** Who the address says is here: `{token, uid, openId, mobile, nickname, how}`; null for a token that cannot be read;
   *  undefined where the address says nothing. */
  first.callerInAddress = function () {
    var given = new URLSearchParams(location.hash.slice(1));
    if (!given.has("token")) return undefined;
    var who = {};
    ["token", "openId", "mobile", "nickname", "how"].forEach(function (name) {
      who[name] = given.get(name) || "";
    });
    try {
      who.uid = Number(JSON.parse(atob(who.token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub);
      return who;
    } catch (error) {
      return null;
    }
  };

  /** The question for the summary: the response of a request that gives up by itself. */
  first.ask = function (who) {
    var options = { cache: "no-store" };
    if (who) {
      var body = { uid: who.uid };
      if (who.mobile || who.nickname || who.openId) {
        body.extra = { mobile: who.mobile, nickname: who.nickname, openId: who.openId };
      }
      options.method = "POST";
      options.headers = { authorization: "Bearer " + who.token, "content-type": "application/json" };
      options.body = JSON.stringify(body);
    }
    var patience = new AbortController();
    options.signal = patience.signal;
    setTimeout(function () { patience.abort(); }, TIMEOUT_MS);
    return fetch("/api/summary", options);
  };

  /** `page` is the document that the service has now: if it is another one, the browser's copy is replaced, once. */
  first.renew = function (page) {
    if (!page || page === mine || page === other) return;
    other = page;
    fetch(location.pathname + location.search, { cache: "reload" })
      .then(function (reply) { return reply.ok && reply.text(); })
      .then(function (text) {
        first.renewed = Boolean(text);
        heal();
      })
      .catch(function () { other = ""; });
  };

  /** Opens the new document, once: where two versions answer by turns, or nothing can be remembered, never. */
  first.reopen = function () {
    try {
      if (sessionStorage.getItem("clock.page") === other) return;
      sessionStorage.setItem("clock.page", other);
      location.reload();
    } catch (error) {
      // no storage: the next opening is new
    }
  };

  /** A page that has not started is of no use: nothing can be lost. */
  function heal() {
    if (first.renewed && document.readyState === "complete" && root.getAttribute("data-started") === null) first.reopen();
  }
  window.addEventListener("load", heal);

  try {
    first.caller = JSON.parse(sessionStorage.getItem("clock.caller"));
  } catch (error) {
    // no storage: the address says who is here, or nobody does
  }
  var said = first.callerInAddress();
  if (said !== undefined) first.caller = said;
  first.early = { caller: first.caller, asked: performance.now(), reply: first.ask(first.caller) };
  first.early.reply
    .then(function (reply) { return reply.clone().json(); })
    .then(function (answer) { first.renew(answer.data.summary && answer.data.summary.page); })
    .catch(function () {}); // who uses the answer says what is wrong with it
})();
