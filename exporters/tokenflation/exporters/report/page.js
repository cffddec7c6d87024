// Draws every chart of the page in the colours of the theme, and again when the theme changes.
(() => {
  "use strict";
  const swaps = JSON.parse(document.getElementById("theme").textContent);
  const escaped = Object.keys(swaps).map((text) => text.replace(/[()]/g, "\\$&"));
  const lightColour = new RegExp(escaped.join("|"), "g");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const settings = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false, scrollZoom: false };

  // A click opens what holds more, and its path leads back; what holds nothing would only fill the frame.
  function openOnlyWhatHolds(event) {
    return event.points[0].data.parents.includes(event.nextLevel);
  }

  function draw(place) {
    let spec = document.getElementById(place.dataset.figure).textContent;
    if (dark.matches) spec = spec.replace(lightColour, (colour) => swaps[colour]);
    const figure = JSON.parse(spec);
    return window.Plotly.react(place, figure.data, figure.layout, settings).then(() => {
      place.removeAllListeners("plotly_icicleclick");
      place.on("plotly_icicleclick", openOnlyWhatHolds);
    });
  }

  function drawAll() {
    return Promise.all([...document.querySelectorAll(".plot")].map(draw)).then(() => {
      document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
    });
  }

  dark.addEventListener("change", drawAll);
  drawAll();
})();
