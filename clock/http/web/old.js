/* No module of the page has run: the browser is too old for it, or the connection was lost on the way. This file is
   for such browsers, so it is written as for the oldest. */
window.addEventListener("load", function () {
  if (document.documentElement.getAttribute("data-started") !== null) return;
  var said = document.getElementById("lost");
  said.textContent = /^en/i.test(navigator.language)
    ? "This page cannot start here. Reload it; if that does not help, update your system or its browser (iOS 14, Android WebView 90 or newer)."
    : "页面无法启动。请刷新重试；还是不行的话，请升级系统或浏览器（iOS 14、Android WebView 90 以上）。";
  said.hidden = false;
});
