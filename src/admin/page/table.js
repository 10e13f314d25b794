// Partitions: sorted, filtered, and only the rows in view, so that a thousand of them cost no more than thirty.

import { el, keyed, pill, setAttribute, setPill, setText } from './dom.js';
import { behind, catchUp, count, levels, perSecond, states } from './words.js';

/** As high as page.css makes a row. */
const ROW = 42;
const BEYOND = 8;
/** Rows don't change places more often than this, nor under the pointer. */
const CALM_MS = 3000;

const ranks = { bad: 4, waiting: 3, busy: 2, quiet: 1, good: 0 };

/** Level and word of a row: what the sink does with it goes before how its lag is judged. */
export function standing(row) {
  if (row.needs_a_person && row.state !== 'quarantined') return ['bad', 'Needs you'];
  if (row.state === 'waiting' && row.why && !row.waits_for_turn) return ['waiting', 'Waiting'];
  const state = row.state && row.state !== 'running' ? states[row.state] : null;
  if (state && state[0] !== 'quiet') return [state[0], state[1]];
  const status = row.verdict?.status;
  if (status && (status !== 'OK' || !state)) return [levels[status] ?? 'quiet', status];
  if (state) return [state[0], state[1]];
  return row.state ? ['good', 'Running'] : ['quiet', 'not judged'];
}

export const nameOf = (row) => `${row.topic}[${row.partition}]`;
export const rowKey = (row) => JSON.stringify([row.topic, row.partition]);

const byName = (a, b) => (a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : a.partition - b.partition);
const worst = (a, b) => ranks[b.is[0]] - ranks[a.is[0]] || (b.lag ?? -1) - (a.lag ?? -1) || byName(a, b);
const descending = (of) => (a, b) => (of(b) ?? -1) - (of(a) ?? -1) || byName(a, b);
const catchUpRank = (row) => ({ never: Infinity, in_seconds: row.verdict?.catch_up_s, keeps_up: 0, done: 0 }[row.verdict?.catch_up]);

// Name, class, value, order (the first press of the heading), what it means.
const columns = [
  ['Partition', '', nameOf, byName, 'Topic and partition'],
  ['State', '', null, worst, 'The worst first'],
  ['Lag', 'num', (r) => count(r.lag), descending((r) => r.lag), 'Records that are left to read'],
  ['Behind by', 'num wide', (r) => behind(r.verdict), descending((r) => r.verdict?.time_lag_ms), 'How old the oldest unread record is'],
  ['Read', 'num wide', (r) => perSecond(r.verdict?.consumed_per_s), descending((r) => r.verdict?.consumed_per_s), 'Offsets committed a second'],
  ['Written', 'num wide', (r) => perSecond(r.verdict?.produced_per_s), descending((r) => r.verdict?.produced_per_s), 'Offsets appended to the log a second'],
  ['Caught up', 'wide', (r) => catchUp(r.verdict), descending(catchUpRank), 'At the paces of the last while'],
  ['Committed', 'num wider', (r) => count(r.committed), descending((r) => r.committed), 'The committed offset'],
  ['Log end', 'num wider', (r) => count(r.log_end), descending((r) => r.log_end), 'Where the log ends'],
  ['Owner', 'wider', (r) => r.owner ?? (r.worker === undefined ? '–' : `worker ${r.worker}`), (a, b) => String(a.owner ?? a.worker).localeCompare(String(b.owner ?? b.worker)) || byName(a, b), 'Who reads it'],
];

export class PartitionTable {
  #rows = new Map(); #sorted = []; #nodes = new Map(); #sort = 1; #isReversed = false; #sortedAt = 0; #isStale = true; #leftOut = 0; #open = null;

  /** `open(row)` is called when a partition is chosen. */
  constructor(open) {
    this.openRow = open;
    this.filter = el('input', { type: 'search', placeholder: 'Filter by topic, partition or owner', 'aria-label': 'Filter partitions', oninput: () => this.#restart() });
    this.bad = el('input', { type: 'checkbox', onchange: () => this.#restart() });
    this.count = el('p', { class: 'count', role: 'status' });
    this.heads = columns.map(([name, kind, , , title], place) => {
      const button = el('button', { type: 'button', title, onclick: () => this.#sortBy(place) }, name);
      return el('th', { scope: 'col', class: kind }, button);
    });
    this.above = el('td');
    this.below = el('td');
    this.body = el('tbody');
    this.table = el('table', { class: 'partitions' },
      el('caption', { class: 'hidden' }, 'Partitions'),
      el('thead', {}, el('tr', { 'aria-rowindex': 1 }, this.heads)),
      el('tbody', { class: 'pad', 'aria-hidden': 'true' }, el('tr', {}, this.above)),
      this.body,
      el('tbody', { class: 'pad', 'aria-hidden': 'true' }, el('tr', {}, this.below)));
    this.scroll = el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Partitions', onscroll: () => this.#scrolled() }, this.table);
    this.empty = el('p', { class: 'empty', hidden: true });
    this.node = el('div', {},
      el('div', { class: 'tools' }, this.filter, el('label', { class: 'check' }, this.bad, ' only those that aren’t well'), this.count),
      this.scroll, this.empty);
    this.#mark();
  }

  get rows() { return this.#rows; }

  /** Takes a change of the rows. */
  take({ whole, changed, gone, left_out: leftOut }) {
    if (whole) this.#rows.clear();
    const before = this.#rows.size;
    gone.forEach((key) => this.#rows.delete(key));
    changed.forEach((row) => { row.is = standing(row); row.key = rowKey(row); this.#rows.set(row.key, row); });
    this.#isStale = true;
    if (whole || gone.length || this.#rows.size !== before) this.#sortedAt = 0;
    this.#leftOut = leftOut;
  }

  /** Marks the partition that is looked at. */
  choose(key) { this.#open = key; }

  redraw() {
    const isCalm = performance.now() - this.#sortedAt < CALM_MS || (this.#sortedAt > 0 && this.scroll.matches(':hover'));
    if (this.#isStale && !isCalm) this.#order();
    else this.#sorted = this.#sorted.map((row) => this.#rows.get(row.key)).filter(Boolean);
    this.#draw();
  }

  #restart() {
    this.#sortedAt = 0;
    this.#order();
    this.scroll.scrollTop = 0;
    this.#draw();
  }

  #order() {
    const text = this.filter.value.trim().toLowerCase();
    const isWanted = (row) => (!this.bad.checked || ranks[row.is[0]] > 1)
      && (text === '' || `${nameOf(row)} ${row.owner ?? ''} ${row.is[1]}`.toLowerCase().includes(text));
    this.#sorted = [...this.#rows.values()].filter(isWanted).sort(columns[this.#sort][3]);
    if (this.#isReversed) this.#sorted.reverse();
    this.#sortedAt = performance.now();
    this.#isStale = false;
  }

  #sortBy(place) {
    this.#isReversed = place === this.#sort && !this.#isReversed;
    this.#sort = place;
    this.#mark();
    this.#restart();
  }

  #mark() {
    this.heads.forEach((head, place) => {
      const isUp = (place === 0) !== this.#isReversed;
      setAttribute(head, 'aria-sort', place !== this.#sort ? null : isUp ? 'ascending' : 'descending');
    });
  }

  #scrolled() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.#draw(); });
  }

  #draw() {
    const total = this.#sorted.length;
    const height = this.scroll.clientHeight || 600;
    const first = Math.max(0, Math.min(Math.floor(this.scroll.scrollTop / ROW) - BEYOND, total - 1));
    const last = Math.min(total, first + Math.ceil(height / ROW) + 2 * BEYOND);
    this.above.style.height = `${first * ROW}px`;
    this.below.style.height = `${(total - last) * ROW}px`;
    const inView = this.#sorted.slice(first, last).map((row, place) => ({ row, place: first + place + 2 }));
    keyed(this.body, this.#nodes, inView, ({ row }) => row.key, () => this.#make(), (node, item) => this.#fill(node, item));
    setAttribute(this.table, 'aria-rowcount', total + 1);
    const all = this.#rows.size;
    const left = this.#leftOut ? `, ${count(this.#leftOut)} more aren’t sent` : '';
    setText(this.count, total === all ? `${count(all)} partitions${left}` : `${count(total)} of ${count(all)} partitions${left}`);
    this.empty.hidden = total > 0;
    this.scroll.hidden = total === 0;
    setText(this.empty, all === 0 ? 'There are no partitions here.' : 'No partition is like that.');
  }

  #make() {
    const button = el('button', { type: 'button', class: 'rowlink', onclick: () => this.openRow(button.row) });
    return el('tr', { onclick: (event) => { if (event.target !== button) this.openRow(button.row); } },
      el('th', { scope: 'row' }, button), el('td', {}, pill('quiet', '')), columns.slice(2).map(([, kind]) => el('td', { class: kind })));
  }

  #fill(node, { row, place }) {
    const [head, state, ...cells] = node.children;
    head.firstChild.row = row;
    setText(head.firstChild, nameOf(row));
    setAttribute(head.firstChild, 'title', nameOf(row));
    setPill(state.firstChild, ...row.is);
    cells.forEach((cell, at) => setText(cell, columns[at + 2][2](row)));
    setAttribute(node, 'aria-rowindex', place);
    setAttribute(node, 'data-open', this.#open === row.key);
  }
}
