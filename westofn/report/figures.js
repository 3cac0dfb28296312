(function () {
  "use strict";

  // Figures: the specifications hold no colours, the theme follows the reader's scheme.

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const drawn = JSON.parse(document.getElementById("figure-data").textContent);

  function theme() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const font = getComputedStyle(document.body).fontFamily;
    const words = { labelColor: colour("--text"), titleColor: colour("--quiet"), titleFontWeight: "normal", labelFontSize: 11, titleFontSize: 12 };
    return {
      background: "transparent",
      font: font,
      view: { stroke: null },
      range: { category: drawn.palettes[dark.matches ? "dark" : "light"] },
      axis: { ...words, gridColor: colour("--line"), domainColor: colour("--quiet"), tickColor: colour("--quiet") },
      legend: { ...words, labelFontSize: 12 },
    };
  }

  function drawFigures() {
    const options = { actions: false, renderer: "svg", mode: "vega-lite", config: theme() };
    for (const element of document.querySelectorAll("[data-figure]")) {
      window.vegaEmbed(element, drawn.specs[element.dataset.figure][element.dataset.panel], options);
    }
  }

  drawFigures();
  dark.addEventListener("change", drawFigures);
})();
