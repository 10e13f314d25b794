// What happened, in order, the newest first.

import { byId, el, keyed, setAttribute, setText } from './dom.js';
import { clock, count, day } from './words.js';

const FIRST = 40;
const MORE = 100;
/** As many as the server keeps. */
const KEPT = 2000;

const marks = { good: 'over', info: 'note', warn: 'warning', bad: 'needs you' };

export class JournalList {
  #entries = new Map(); #nodes = new Map(); #shown = FIRST; #isWanted = () => true; #changed = true;

  constructor() {
    this.important = byId('journal-important');
    this.important.addEventListener('change', () => this.#touch());
    byId('journal-more').addEventListener('click', () => { this.#shown += MORE; this.#touch(); });
  }

  /** Entries of a process; those of the one before stay. */
  add(boot, entries) {
    for (const entry of entries) this.#entries.set(`${boot}-${entry.id}`, { ...entry, key: `${boot}-${entry.id}` });
    if (this.#entries.size > KEPT) {
      const all = this.sorted();
      all.slice(KEPT).forEach((entry) => this.#entries.delete(entry.key));
    }
    this.#changed = true;
  }

  /** Shows only what concerns this. */
  show(isWanted, title) {
    this.#isWanted = isWanted;
    this.#shown = FIRST;
    setText(byId('journal-title'), title);
    this.#touch();
  }

  sorted() {
    return [...this.#entries.values()].sort((a, b) => b.last_ms - a.last_ms || b.seq - a.seq);
  }

  redraw() {
    if (this.#changed) this.#touch();
  }

  #touch() {
    this.#changed = false;
    const isWanted = (entry) => this.#isWanted(entry) && (!this.important.checked || entry.level !== 'info');
    const found = this.sorted().filter(isWanted);
    keyed(byId('journal'), this.#nodes, found.slice(0, this.#shown), (e) => e.key, make, update);
    byId('journal-empty').hidden = found.length > 0;
    byId('journal-more').hidden = found.length <= this.#shown;
  }
}

function make(entry) {
  return el('li', { 'data-level': entry.level },
    el('span', { class: 'mark', 'aria-hidden': 'true' }),
    el('div', {},
      el('p', { class: 'when' }, el('time', {}), el('span', { class: 'where' }), el('span', { class: 'times' }), el('span', { class: 'hidden' }, marks[entry.level])),
      el('p', { class: 'text' })));
}

function update(node, entry) {
  const [time, where, times] = node.querySelector('.when').children;
  const isToday = new Date(entry.last_ms).toDateString() === new Date().toDateString();
  setText(time, isToday ? clock(entry.last_ms) : `${day(entry.last_ms)}, ${clock(entry.last_ms)}`);
  setAttribute(time, 'datetime', new Date(entry.last_ms).toISOString());
  setText(where, entry.sink ?? (entry.group ? null : entry.cluster) ?? '');
  setText(times, entry.count > 1 ? `${count(entry.count)} times since ${clock(entry.at_ms)}` : '');
  setText(node.querySelector('.text'), sentence(entry.text));
}

/** Texts begin small, like log lines, unless they begin with a name. */
function sentence(text) {
  return /^(a|an|the|offsets|groups|group|caught|another|cluster) /.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
}
