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

  // A legend that is wider than its figure takes more rows: Vega would cut it.

  const LETTER = 7;
  const SYMBOL = 48;

  function withLegends(spec, width) {
    const layers = spec.layer.map((layer) => {
      const encoding = { ...layer.encoding };
      for (const [channel, code] of Object.entries(encoding)) {
        const labels = code.legend && (code.legend.values || (code.scale && code.scale.domain));
        if (!labels) continue;
        const longest = Math.max(...labels.map((label) => label.length));
        const columns = Math.max(1, Math.floor(width / (LETTER * longest + SYMBOL)));
        encoding[channel] = { ...code, legend: { ...code.legend, columns: columns } };
      }
      return { ...layer, encoding: encoding };
    });
    return { ...spec, layer: layers };
  }

  function drawFigures() {
    // `ast` interprets expressions instead of making functions of them, and no style element is
    // added: the page's policy allows neither.
    const options = {
      actions: false, ast: true, config: theme(), defaultStyle: false, mode: "vega-lite",
      renderer: "svg", tooltip: { disableDefaultStyle: true },
    };
    for (const element of document.querySelectorAll("[data-figure]")) {
      element.style.minHeight = element.dataset.height + "px";
      const spec = drawn.specs[element.dataset.figure][element.dataset.panel];
      window.vegaEmbed(element, withLegends(spec, element.clientWidth), options);
    }
  }

  let width = window.innerWidth;
  let waiting = null;

  function drawAgain() {
    if (window.innerWidth === width) return;  // a phone's address bar changes the height alone
    width = window.innerWidth;
    drawFigures();
  }

  drawFigures();
  dark.addEventListener("change", drawFigures);
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(drawAgain, 200);
  });
})();
