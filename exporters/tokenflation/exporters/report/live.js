// Follows the store: puts in the parts of the page that changed, and leaves what the reader opened or stands on as it is.
(() => {
  "use strict";
  const status = document.querySelector(".live");
  const reachable = "a[href], summary, input, button, [tabindex]";

  function put(place, html) {
    const open = [...place.querySelectorAll("details")].map((one) => one.open);
    const focused = [...place.querySelectorAll(reachable)].indexOf(document.activeElement);
    const typed = focused >= 0 && document.activeElement.value;
    place.querySelectorAll(".plot").forEach((one) => window.Plotly.purge(one));
    if (place.matches("section")) {
      const fresh = document.createElement("template");
      fresh.innerHTML = html;
      const next = fresh.content.firstElementChild;
      place.replaceWith(next);
      place = next;
    } else {
      place.innerHTML = html;
    }
    place.querySelectorAll("details").forEach((one, at) => { one.open = at < open.length ? open[at] : one.open; });
    const again = focused >= 0 ? place.querySelectorAll(reachable)[focused] : null;
    if (again) {
      again.focus({ preventScroll: true });
      if (typeof typed === "string") again.value = typed;
    }
  }

  const query = new URLSearchParams(window.location.search);
  query.set("since", status.dataset.version);
  const events = new EventSource(`/events?${query}`);
  events.addEventListener("change", (event) => {
    const change = JSON.parse(event.data);
    // Another set of sections, as after the first call: only a new page has their links.
    if (Object.keys(change.parts).some((key) => !document.getElementById(key))) {
      window.location.reload();
      return;
    }
    for (const [key, html] of Object.entries(change.parts)) put(document.getElementById(key), html);
    status.dataset.version = change.version;
    status.textContent = `Live: ${change.calls} calls, last change seen at ${new Date().toLocaleTimeString()}`;
    document.dispatchEvent(new Event("tokenflation:changed"));
  });
  events.addEventListener("open", () => { status.classList.remove("lost"); });
  events.addEventListener("error", () => {
    status.classList.add("lost");
    status.textContent = "Not connected: the server has stopped, or is busy. This page shows the last state it had.";
  });
})();
