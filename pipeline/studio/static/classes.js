/* The picker of classes: a search by name, for ten of them or for a thousand. */

import { button, find, make, roving, setStop } from "./dom.js";

const LISTED = 200; // options at once; the search reaches the rest

export class ClassPicker {
  constructor(names, onchange) {
    Object.assign(this, { names, onchange, chosen: [] });
    this.box = find("class-list");
    this.search = find("class-search");
    this.search.addEventListener("input", () => this.list());
    this.search.addEventListener("keydown", event => this.searchKey(event));
    find("class-none").addEventListener("click", () => this.choose([]));
    find("class-part").hidden = names.length === 0;
    find("class-search-label").hidden = names.length <= 12;
    roving(this.box);
    this.list();
  }

  /** Ids of classes whose name or number has the words of the search, all of them. */
  found() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const ids = this.names.map((_, id) => id);
    if (!words.length) return ids;
    const exact = ids.filter(id => String(id) === words[0] && words.length === 1);
    const rest = ids.filter(id => words.every(word => this.names[id].toLowerCase().includes(word)));
    return [...new Set([...exact, ...rest])];
  }

  searchKey(event) {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      this.box.querySelector("button")?.focus();
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const [first] = this.found();
      if (first !== undefined && this.search.value.trim()) this.toggle(first);
    }
  }

  toggle(id) {
    const isIn = this.chosen.includes(id);
    this.choose(isIn ? this.chosen.filter(each => each !== id) : [...this.chosen, id]);
  }

  /** Take these ids; ids that the run does not know are left out. */
  choose(ids) {
    this.chosen = ids.filter(id => id >= 0 && id < this.names.length);
    this.mark();
    this.onchange();
  }

  list() {
    const found = this.found();
    const listed = found.slice(0, LISTED);
    this.box.replaceChildren(...listed.map(id => {
      const name = this.names[id];
      return button(name, () => this.toggle(id), { "data-class": id, title: `${name} (class ${id})` });
    }));
    if (!found.length) this.box.append(make("p", { text: "No class has this name." }));
    if (found.length > LISTED)
      this.box.append(make("p", { text: `and ${found.length - LISTED} more: search by name` }));
    this.mark();
  }

  /** Show what is chosen: in the list, and as a line of its own where the list is long. */
  mark() {
    for (const one of this.box.querySelectorAll("button"))
      one.setAttribute("aria-pressed", String(this.chosen.includes(Number(one.dataset.class))));
    setStop(this.box, this.box.querySelector("[aria-pressed=true]"));
    const isLong = this.names.length > 12;
    find("class-chosen").replaceChildren(...(isLong ? this.chosen : []).map(id =>
      button(`${this.names[id]} ×`, () => this.toggle(id), { "aria-label": `leave out ${this.names[id]}` })));
    find("class-none").disabled = this.chosen.length === 0;
  }
}
