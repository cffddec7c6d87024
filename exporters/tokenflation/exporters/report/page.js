// Draws every chart of the page in the colours of the theme, and again when the theme or the charts change.
(() => {
  "use strict";
  const root = document.documentElement;
  const swaps = JSON.parse(document.getElementById("theme").textContent);
  const escaped = Object.keys(swaps).map((text) => text.replace(/[()]/g, "\\$&"));
  const lightColour = new RegExp(escaped.join("|"), "g");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const settings = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false, scrollZoom: false };

  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const paperPx = 660;
  let printing = false;

  const isDark = () => !printing && (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const colours = () => (isDark() ? "dark" : "light");

  // A click opens what holds more, and its path leads back; what holds nothing would only fill the frame.
  function openOnlyWhatHolds(event) {
    const holds = event.points[0].data.parents.includes(event.nextLevel);
    if (!holds || !calm.matches) return holds;
    window.Plotly.restyle(event.event.target.closest(".plot"), { level: event.nextLevel });
    return false;
  }

  // Ticks that fit a wide chart run into each other on a phone; titles of axes and texts at the ends of bars leave it.
  function thinned({ data, layout }, width) {
    if (width < 420 && layout.xaxis) {
      const { tickvals, title } = layout.xaxis;
      if (!tickvals) layout.xaxis.nticks = 5;
      if (title && title.text) title.text = title.text.replace(/^(?=.{21})(.{10,}?) /, "$1<br>");
      if (data.some((trace) => trace.mode === "text")) layout.margin.r += 16;
    }
    if (printing) layout.width = paperPx;
    return layout;
  }

  function draw(place) {
    let spec = document.getElementById(place.dataset.figure).textContent;
    if (isDark()) spec = spec.replace(lightColour, (colour) => swaps[colour]);
    const figure = JSON.parse(spec);
    place.dataset.colours = colours();
    return window.Plotly.react(place, figure.data, thinned(figure, place.clientWidth), settings).then(() => {
      place.removeAllListeners("plotly_icicleclick");
      place.on("plotly_icicleclick", openOnlyWhatHolds);
    });
  }

  const inView = (place) => {
    const box = place.getBoundingClientRect();
    return box.bottom > 0 && box.top < window.innerHeight;
  };
  const breath = () => new Promise((resolve) => { window.setTimeout(resolve); });
  let turn = 0;

  // What is in view comes first, and between two charts the reader has a turn: all at once would freeze the page.
  async function drawAll(places = [...document.querySelectorAll(".plot")]) {
    const mine = ++turn;
    // Paper does not wait.
    if (printing) places.forEach(draw);
    else {
      const first = places.filter(inView);
      for (const place of [...first, ...places.filter((one) => !first.includes(one))]) {
        await draw(place);
        await breath();
        if (mine !== turn) return;
      }
    }
    // The system's colours may have changed and changed back between two frames, which no event tells.
    if (stale().length) drawNew();
    else root.dataset.drawn = colours();
  }

  // Other charts than those put in anew are as they were, unless they were still waiting for their turn.
  const stale = () => [...document.querySelectorAll(".plot")].filter((place) => place.dataset.colours !== colours());
  const drawNew = () => drawAll(stale());

  // A page in a file may have no storage: then the choice lasts as long as the page.
  function remembered(theme) {
    try {
      if (theme === undefined) return window.localStorage.getItem("tokenflation-theme") || "";
      window.localStorage.setItem("tokenflation-theme", theme);
    } catch (error) {
      return "";
    }
    return theme;
  }

  function choose(theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
  }

  const choice = document.querySelector("fieldset.theme");
  const theme = remembered();
  choose(theme);
  choice.querySelector(`input[value="${theme}"]`).checked = true;
  choice.hidden = false;
  choice.addEventListener("change", (event) => {
    choose(event.target.value);
    remembered(event.target.value);
    drawAll();
  });
  document.addEventListener("tokenflation:changed", drawNew);
  system.addEventListener("change", () => drawAll());
  // On paper: the light colours, at the width of a page.
  for (const [event, begins] of [["beforeprint", true], ["afterprint", false]]) {
    window.addEventListener(event, () => {
      printing = begins;
      drawAll();
    });
  }
  drawAll();
})();
