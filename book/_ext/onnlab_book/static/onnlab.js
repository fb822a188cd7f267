// A formula wider than its column scrolls by itself: let the keyboard reach it, and only then.
function reachWideFormulas() {
  for (const formula of document.querySelectorAll("mjx-container")) {
    formula.classList.remove("onnlab-wide");
    const wide = formula.scrollWidth > formula.clientWidth + 1 && formula.clientWidth > 0;
    const inline = formula.getBoundingClientRect().right > document.documentElement.clientWidth;
    formula.classList.toggle("onnlab-wide", wide || inline);
    if (wide || inline) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  }
}

// What opens may hold code that scrolls: on a resize the theme looks for it again, and so do we for formulas.
function lookAgain(event) {
  if (event.target.closest?.("details, .toggle")) {
    requestAnimationFrame(() => window.dispatchEvent(new Event("resize")));
  }
}
document.addEventListener("toggle", lookAgain, true);
document.addEventListener("click", lookAgain);

window.addEventListener("load", () => {
  const typeset = window.MathJax?.startup?.promise ?? Promise.resolve();
  typeset.then(reachWideFormulas);
  window.addEventListener("resize", reachWideFormulas);
});
