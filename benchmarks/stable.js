// When did this page become stable? Runs before anything of the page.
(() => {
  let changed = 0;  // the last time that something visible came, went or said something else
  let ended = 0;  // the first time that the page's script had run to its end
  let turned = 0;  // the last time that a script began or ended: a live refresh that changes nothing counts not
  const look = (records) => {
    const now = performance.now();
    for (const { type, target } of records) {
      if (type !== "attributes") {
        changed = now;
      } else {
        turned = now;
        if (!ended && target.dataset.testScriptState === "notRunning") ended = now;
      }
    }
  };
  const observer = new MutationObserver(look);
  const everything = {
    subtree: true, childList: true, characterData: true, attributeFilter: ["data-test-script-state"],
  };
  observer.observe(document, everything);
  const attachShadow = Element.prototype.attachShadow;  // what lies in a shadow is visible too
  Element.prototype.attachShadow = function (options) {
    const root = attachShadow.call(this, options);
    observer.observe(root, everything);
    return root;
  };
  // Milliseconds since the navigation began, or null while it has not been quiet for so long.
  window.stableAt = (quietMs) => {
    const running = !document.querySelector('.stApp[data-test-script-state="notRunning"]');
    const waiting = document.querySelector('[data-testid="stSkeleton"], [data-testid="stAppSkeleton"]');
    const isQuiet = performance.now() - Math.max(changed, turned) >= quietMs;
    return ended && !running && !waiting && isQuiet ? Math.max(changed, ended) : null;
  };
})();
