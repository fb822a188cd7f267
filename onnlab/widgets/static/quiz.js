import { card, h, initial, number, share, unique } from "./ui.js";

const DEFAULTS = { questions: [], answers: {} };

// Markup -----------------------------------------------------------------------------------------------

// The same pattern stands in questions.py, which has refused whatever would be left open here.
const MARKUP = /`([^`]+)`|\*(?!\s)([^*]+)(?<!\s)\*|\^\{([^{}]+)\}|_\{([^{}]+)\}/g;
const TAGS = ["code", "em", "sup", "sub"];

/** Cut a text with markup into [tag, text] pairs; the tag of plain text is null. */
export function pieces(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(MARKUP)) {
    if (match.index > end) found.push([null, text.slice(end, match.index)]);
    const kind = [1, 2, 3, 4].find((group) => match[group] !== undefined);
    found.push([TAGS[kind - 1], match[kind]]);
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push([null, text.slice(end)]);
  return found;
}

// Emphasised words and indices may hold markup again; code holds none.
const inline = (text) =>
  pieces(text).map(([tag, part]) => (tag ? h(tag, {}, ...(tag === "code" ? [part] : inline(part))) : part));

// Answers ----------------------------------------------------------------------------------------------

/**
 * Read a number as people write it: "−1,5", "1/3", "10 000", and "90.6 %" where the unit is "%".
 *
 * What is no number gives NaN, and so does "12,000", which is one number here and another one there.
 */
export function typed(text, unit = "") {
  const given = text.trim().replace(/[−–]/g, "-");
  const bare = unit && given.endsWith(unit) ? given.slice(0, -unit.length).trim() : given;
  if (/^-?[1-9]\d{0,2},\d{3}$/.test(bare)) return NaN;
  const plain = bare.replace(/(\d)\s(?=\d{3}(?!\d))/g, "$1").replace(",", ".");
  const parts = plain.split("/").map((part) => (part.trim() === "" ? NaN : Number(part)));
  return parts.length > 2 ? NaN : parts[0] / (parts[1] ?? 1);
}

const close = (a, b, tolerance) => Math.abs(a - b) <= tolerance * (1 + 1e-9);

/** Say what an answer to a question is: `right` or not, and `words` about it. */
export function judge(question, answer) {
  if (question.kind === "one") {
    const { right, feedback } = question.choices[answer];
    return { right, words: right ? question.explanation : feedback };
  }
  const right = close(answer, question.answer, question.tolerance);
  const trap = question.traps.find(({ value }) => close(answer, value, question.tolerance));
  return { right, words: right ? question.explanation : (trap?.feedback ?? question.hint) };
}

/** How a question stands after its tries: `open`, `first` (right at once), `later` or `wrong`. */
export function standing(question, tries = []) {
  if (tries.length === 0) return "open";
  if (judge(question, tries[0]).right) return "first";
  return tries.some((answer) => judge(question, answer).right) ? "later" : "wrong";
}

const MARKS = { open: "·", first: "✓", later: "(✓)", wrong: "✗" };
const SAID = {
  open: "not answered",
  first: "right at the first try",
  later: "right at a later try",
  wrong: "not right yet",
};

// Page -------------------------------------------------------------------------------------------------

const LOOK = `
.onn:has(.onn-quiz){scroll-margin:5rem 0 1rem}
.onn-steps{display:flex;flex-wrap:wrap;gap:4px;padding:0;margin:0;list-style:none}
.onn .onn-steps li{margin:0}
.onn-step{position:relative;display:grid;justify-items:center;width:1.9rem;padding:.12rem 0 .16rem;border:1px solid var(--line);border-radius:6px;
  background:none;color:var(--soft);font:inherit;font-size:13px;line-height:1.15;cursor:pointer}
.onn-step:hover{background:var(--fill)}
.onn-step:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.onn-step span{font-weight:700}
.onn-step[aria-current]{border-color:var(--accent);box-shadow:inset 0 0 0 1px var(--accent);color:var(--ink)}
.onn .onn-first,.onn .onn-later{--mark:var(--third)}
.onn .onn-wrong{--mark:var(--second)}
.onn-step span,.onn-answer .onn-mark,.onn-verdict strong{color:var(--mark,inherit)}
.onn .onn-quiz fieldset{max-width:44rem}
.onn .onn-quiz legend,.onn .onn-asked{padding:0;margin:0 0 .7rem;color:var(--ink);font-size:16px;line-height:1.45}
.onn-quiz legend:focus,.onn-asked:focus{outline:none}
.onn-quiz legend:focus-visible,.onn-asked:focus-visible{outline:2px solid var(--accent);outline-offset:3px;border-radius:2px}
.onn-answer{display:grid;grid-template-columns:auto 1fr auto;gap:.65rem;align-items:baseline;margin:0 0 .4rem;padding:.5rem .75rem;
  border:1px solid var(--line);border-radius:8px;font-size:15px;line-height:1.45;cursor:pointer}
.onn-answer:hover{background:var(--fill)}
.onn-answer input{width:1rem;height:1rem;margin:0;transform:translateY(.12rem);accent-color:var(--accent)}
.onn-answer input:focus-visible{outline:none}
.onn-answer:has(:checked){border-color:var(--accent);box-shadow:inset 0 0 0 1px var(--accent)}
.onn-answer:has(:focus-visible){outline:2px solid var(--accent);outline-offset:2px}
.onn-answer .onn-mark{font-size:13px;font-weight:600;white-space:nowrap}
.onn-number{display:flex;flex-wrap:wrap;align-items:baseline;gap:.4rem .6rem;font-size:15px}
.onn-number label{margin:0;color:var(--soft);font-size:13px}
.onn-number input{width:8rem;padding:.4rem .6rem;border:1px solid var(--soft);border-radius:6px;background:var(--paper);color:var(--ink);
  font:inherit;font-variant-numeric:tabular-nums}
.onn-number input:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
.onn-verdict:not(:empty){max-width:44rem;margin-top:.8rem;padding:.6rem .85rem;border-left:4px solid var(--mark,var(--soft));
  border-radius:0 8px 8px 0;background:var(--fill);font-size:15px;line-height:1.5}
.onn .onn-verdict p+p{margin-top:.35rem}
.onn-quiz code{padding:.05em .3em;border:0;border-radius:4px;background:var(--fill);color:inherit;font-size:.92em}
.onn-quiz sup,.onn-quiz sub{line-height:0}
.onn-quiz a{color:var(--accent);text-decoration:underline}
.onn-quiz a:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.onn .onn-quiz p{font-size:15px}
.onn .onn-quiz .onn-asked{font-size:18px;font-weight:600}
.onn .onn-asked~p{margin-top:.5rem}
.onn-again{margin:.3rem 0 0;padding-left:1.2rem;font-size:15px}
.onn-buttons{display:flex;flex-wrap:wrap;gap:.6rem;margin-top:.9rem}
.onn-buttons .onn-button{padding:.4rem .95rem;font-size:14px}
.onn-main{border-color:var(--accent);background:var(--accent);color:var(--on-accent)}
.onn-main:hover{background:color-mix(in srgb,var(--accent) 85%,var(--ink))}
@container (max-width:479px){.onn-head:has(.onn-steps){flex-direction:column;align-items:stretch;gap:.5rem}
  .onn-steps{display:grid;grid-auto-flow:column;grid-auto-columns:minmax(0,2.4rem)}.onn-step{width:100%}}
@media (pointer:coarse){.onn-answer{padding:.7rem .75rem}.onn-buttons .onn-button{padding:.6rem 1.1rem}}
`;

// A link on a page that has the section; its name in a notebook, which has no such place to go to.
const pointer = ({ section, heading }) =>
  section && document.getElementById(section) ? h("a", { href: `#${section}` }, heading) : h("em", {}, heading);

function render({ model, el }) {
  const bench = initial(model, DEFAULTS);
  const { questions } = bench;
  const shared = share(model);
  const title = h("p", { class: "onn-title" });
  const steps = h("ol", { class: "onn-steps" });
  const body = h("form", { class: "onn-quiz", autocomplete: "off", onsubmit: act, onkeydown: once });
  card(el, "Self-test", h("style", {}, LOOK), h("div", { class: "onn-head" }, title, steps), body);

  const tries = (question) => bench.answers[question.name] ?? [];
  const stand = (question) => standing(question, tries(question));
  const waiting = questions.findIndex((question) => stand(question) === "open");
  let shown = waiting < 0 ? questions.length : waiting;
  let view; // of the question that is shown: how to read, mark and correct its answer

  function answered(question, answer) {
    bench.answers = { ...bench.answers, [question.name]: [...tries(question), answer] };
    shared.put("answers", () => bench.answers);
    shared.flush();
  }

  function drawSteps() {
    const step = (question, i) => {
      const mark = h("span", { class: `onn-${stand(question)}`, "aria-hidden": "true" }, MARKS[stand(question)]);
      const said = h("span", { class: "onn-live" }, SAID[stand(question)]);
      const attributes = { type: "button", class: "onn-step", "aria-current": i === shown && "step" };
      return h("li", {}, h("button", { ...attributes, onclick: () => go(i) }, i + 1, mark, said));
    };
    steps.replaceChildren(...questions.map(step));
    title.textContent = shown < questions.length ? `Question ${shown + 1} of ${questions.length}` : "Your score";
  }

  /** Show a question, or after the last one the score; `focus` takes the reader along. */
  function go(place, focus = true) {
    shown = place;
    view = place < questions.length ? ask(questions[place]) : sum();
    body.replaceChildren(...view.nodes);
    drawSteps();
    if (!focus) return;
    view.start.focus({ preventScroll: true });
    view.start.closest(".onn").scrollIntoView({ block: "nearest" });
  }

  // A double click and a key held down answer once: what they say is there to be read.
  function once(event) {
    if (event.repeat && event.key === "Enter") event.preventDefault();
  }
  const single = (event) => event.detail > 1 && event.preventDefault();

  function act(event) {
    event.preventDefault();
    view.act();
  }

  function ask(question) {
    const verdict = h("div", { class: "onn-verdict", role: "status", "aria-live": "polite" });
    const main = h("button", { type: "submit", class: "onn-button onn-main", onclick: single });
    const skip = h("button", { type: "button", class: "onn-button", onclick: () => go(shown + 1) });
    const legend = h("legend", { tabindex: -1 }, ...inline(question.text));
    const field = question.kind === "one" ? choices(question, changed) : numberField(question, changed);
    const next = shown + 1 < questions.length ? "Next question" : "See your score";
    let judged = null; // what was said about the answer as it stands now

    function changed() {
      judged = null;
      label();
    }
    function label() {
      main.textContent = judged === null ? "Check" : judged.right ? next : "Try again";
      skip.textContent = next;
      skip.hidden = judged?.right === true;
    }
    function say(answer) {
      judged = judge(question, answer);
      const kind = judged.right ? "first" : "wrong";
      const again = h("p", {}, "Read again: ", pointer(question), ".");
      verdict.className = `onn-verdict onn-${kind}`;
      verdict.replaceChildren(
        h("p", {}, h("strong", {}, judged.right ? "✓ Right." : "✗ Not right."), " ", ...inline(judged.words)),
        ...(judged.right || !question.heading ? [] : [again]),
      );
      field.mark(tries(question));
      label();
    }
    const last = tries(question).at(-1);
    label();
    if (last !== undefined) (field.set(last), say(last));
    return {
      start: legend,
      nodes: [
        h("fieldset", {}, legend, ...field.nodes),
        verdict,
        h("div", { class: "onn-buttons" }, main, skip),
      ],
      act() {
        if (judged?.right) return go(shown + 1);
        if (judged) {
          verdict.replaceChildren();
          field.again();
          return changed();
        }
        const answer = field.read();
        if (answer === null) {
          verdict.className = "onn-verdict";
          return verdict.replaceChildren(h("p", {}, field.missing));
        }
        answered(question, answer);
        say(answer);
        drawSteps();
      },
    };
  }

  function sum() {
    const those = (...kinds) => questions.filter((question) => kinds.includes(stand(question)));
    const result = `${those("first").length} of ${questions.length} right at the first try.`;
    const start = h("p", { class: "onn-asked", tabindex: -1 }, result);
    const open = those("open").map((question) => questions.indexOf(question) + 1).join(", ");
    const missed = those("later", "wrong").filter((question) => question.heading);
    const sections = [...new Map(missed.map((question) => [question.heading, question])).values()];
    const again = sections.map((question) => h("li", {}, pointer(question)));
    return {
      start,
      nodes: [
        start,
        ...(open ? [h("p", {}, `Not answered yet: ${open}.`)] : []),
        ...(again.length ? [h("p", {}, "Worth reading again:"), h("ul", { class: "onn-again" }, ...again)] : []),
        h("div", { class: "onn-buttons" }, h("button", { type: "submit", class: "onn-button onn-main" }, "Start again")),
      ],
      act() {
        bench.answers = {};
        shared.put("answers", () => bench.answers);
        shared.flush();
        go(0);
      },
    };
  }

  shared.on("answers", (answers) => {
    bench.answers = answers;
    go(Math.min(shown, questions.length), false);
  });
  go(shown, false);
  return () => {
    shared.stop();
    el.replaceChildren();
  };
}

// Fields: what a question is answered with -----------------------------------------------------------------

function choices({ choices: all, order }, changed) {
  const name = unique();
  const inputs = all.map((_, i) => h("input", { type: "radio", name, value: i, onchange: changed }));
  const marks = all.map(() => h("span", { class: "onn-mark" }));
  const row = (i) => h("label", { class: "onn-answer" }, inputs[i], h("span", {}, ...inline(all[i].text)), marks[i]);
  return {
    nodes: order.map(row),
    missing: "Choose an answer first.",
    read() {
      const chosen = inputs.findIndex((input) => input.checked);
      return chosen < 0 ? null : chosen;
    },
    set: (answer) => (inputs[answer].checked = true),
    mark(tries) {
      all.forEach(({ right }, i) => {
        marks[i].textContent = !tries.includes(i) ? "" : right ? "✓ right" : "✗ tried";
        marks[i].className = `onn-mark ${right ? "onn-first" : "onn-wrong"}`;
      });
    },
    again() {
      inputs.forEach((input) => (input.checked = false));
      inputs[order[0]].focus();
    },
  };
}

function numberField({ unit }, changed) {
  const id = unique();
  const input = h("input", { type: "text", inputmode: "decimal", id, oninput: changed });
  const label = h("label", { for: id }, unit ? `Your answer, in ${unit}` : "Your answer, a number");
  return {
    nodes: [h("div", { class: "onn-number" }, label, input, unit && h("span", { "aria-hidden": "true" }, unit))],
    missing: "Type a number first, such as 1.5, 1/3 or 2e-3; write 12000 without a comma.",
    read() {
      const value = typed(input.value, unit);
      return Number.isFinite(value) ? value : null;
    },
    set: (answer) => (input.value = number(answer, 6)),
    mark() {},
    again: () => (input.focus(), input.select()),
  };
}

export default { render };
