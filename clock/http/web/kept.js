/** What the page remembers on this device. A WebView may have no DOM storage, or refuse it: then as long as it is open. */

function store(name) {
  const beside = new Map();
  let storage = null;
  try {
    storage = globalThis[name];
  } catch {
    // forbidden: SecurityError
  }
  return {
    /** The value of that name, or null; what is not JSON, or was lost, is null. */
    get(key) {
      try {
        return JSON.parse(beside.get(key) ?? storage?.getItem(key) ?? "null");
      } catch {
        return null;
      }
    },
    /** Null removes it. What is stored is not kept beside too: another tab may change it. */
    set(key, value) {
      beside.set(key, JSON.stringify(value));
      try {
        if (!storage) return;
        if (value === null) storage.removeItem(key);
        else storage.setItem(key, JSON.stringify(value));
        beside.delete(key);
      } catch {
        // full or forbidden: it is kept beside
      }
    },
  };
}

/** As long as the tab, and as long as the device. */
export const tab = store("sessionStorage");
export const device = store("localStorage");
