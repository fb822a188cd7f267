// Brings the explorables of a static page to life. The extension puts `const MODULES = {name: source}` before
// these lines. A module is imported through a blob: a page opened from disk may not import a file.

// Stands in for the model that a notebook would provide: a state, and listeners to its changes.
class Model {
  #state;
  #listeners = new Map();

  constructor(state) {
    this.#state = state;
  }

  get(name) {
    return this.#state[name];
  }

  set(name, value) {
    if (this.#state[name] === value) return;
    this.#state[name] = value;
    for (const event of [`change:${name}`, "change"]) this.#call(event, value);
  }

  on(event, listener) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  off(event, listener) {
    const kept = (one) => listener !== undefined && one !== listener;
    this.#listeners.set(event, (this.#listeners.get(event) ?? []).filter(kept));
  }

  save_changes() {}

  send() {}

  #call(event, value) {
    for (const listener of this.#listeners.get(event) ?? []) listener(this, value);
  }
}

// Binary values travel as base64 and arrive as a DataView, as they do in a notebook.
function decoded(value) {
  if (typeof value?.__b64__ !== "string") return value;
  return new DataView(Uint8Array.from(atob(value.__b64__), (letter) => letter.charCodeAt(0)).buffer);
}

const loading = new Map();

function load(name) {
  if (!(name in MODULES)) throw new Error(`no explorable is called ${name}`);
  if (!loading.has(name)) {
    const blob = new Blob([MODULES[name]], { type: "text/javascript" });
    loading.set(name, import(URL.createObjectURL(blob)));
  }
  return loading.get(name);
}

async function mount(place) {
  const widget = (await load(place.dataset.module)).default;
  const state = JSON.parse(place.dataset.state, (_, value) => decoded(value));
  place.model = new Model(state); // other scripts of the page may drive it, as Python does in a notebook
  await widget.render({ model: place.model, el: place });
  place.dataset.live = "true";
}

for (const place of document.querySelectorAll(".onnlab-explorable[data-module]")) {
  mount(place).catch((error) => console.error(`explorable ${place.dataset.module}:`, error));
}
