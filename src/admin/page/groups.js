// Groups, the worst first.

import { el, keyed, pill, setAttribute, setPill, setText } from './dom.js';
import { behind, catchUp, count, duration, levels, perSecond } from './words.js';

export const groupPath = (cluster, group) => `#/group/${encodeURIComponent(cluster)}/${encodeURIComponent(group)}`;
export const groupKey = (group) => JSON.stringify([group.cluster, group.group]);

/** So many rows are shown at first. */
const SHOWN = 50;

const rank = { bad: 2, waiting: 1, good: 0 };

const columns = [
  ['Group', ''], ['Verdict', ''], ['Lag', 'num'], ['Behind by', 'num wide'], ['Read', 'num wide'], ['Written', 'num wide'], ['Caught up', 'wide'],
];

export class GroupList {
  #nodes = new Map(); #shown = SHOWN;

  constructor() {
    this.filter = el('input', { type: 'search', placeholder: 'Filter groups', 'aria-label': 'Filter groups', oninput: () => this.redraw() });
    this.bad = el('input', { type: 'checkbox', onchange: () => this.redraw() });
    this.count = el('p', { class: 'count', role: 'status' });
    this.body = el('tbody');
    this.more = el('button', { type: 'button', class: 'plain', hidden: true, onclick: () => { this.#shown += 200; this.redraw(); } }, 'Show more');
    this.tools = el('div', { class: 'tools' }, this.filter, el('label', { class: 'check' }, this.bad, ' only those that aren’t OK'), this.count);
    this.node = el('div', {},
      this.tools,
      el('table', { class: 'groups' },
        el('caption', { class: 'hidden' }, 'Consumer groups, the worst first'),
        el('thead', {}, el('tr', {}, columns.map(([name, kind]) => el('th', { scope: 'col', class: kind }, name)))),
        this.body),
      this.more);
  }

  /** `sinkOf(group)`: the summary of the sink whose group it is. */
  update(groups, leftOut, severalClusters, now, sinkOf) {
    this.sinkOf = sinkOf;
    this.groups = groups; this.leftOut = leftOut; this.severalClusters = severalClusters; this.now = now;
    this.redraw();
  }

  redraw() {
    const text = this.filter.value.trim().toLowerCase();
    const isWanted = (g) => (!this.bad.checked || g.status !== 'OK') && (text === '' || `${g.cluster} ${g.group}`.toLowerCase().includes(text));
    const found = this.groups.filter(isWanted);
    found.sort((a, b) => rank[levels[b.status]] - rank[levels[a.status]] || b.lag - a.lag || (a.group < b.group ? -1 : 1));
    this.tools.hidden = this.groups.length < 6;
    const left = this.leftOut ? `, ${count(this.leftOut)} more aren’t sent, these are the worst` : '';
    setText(this.count, `${count(found.length)} of ${count(this.groups.length)} groups${left}`);
    this.more.hidden = found.length <= this.#shown;
    keyed(this.body, this.#nodes, found.slice(0, this.#shown), groupKey, (g) => this.#make(g), (node, g) => this.#fill(node, g));
  }

  #make(group) {
    const name = el('a', { href: groupPath(group.cluster, group.group) }, group.group);
    const where = this.severalClusters ? el('span', { class: 'where' }, group.cluster) : null;
    const state = el('td', {}, pill('quiet', '…'), el('span', { class: 'since' }));
    return el('tr', {}, el('th', { scope: 'row' }, name, where), state, columns.slice(2).map(([, kind]) => el('td', { class: kind })));
  }

  #fill(row, group) {
    const [, state, ...cells] = row.children;
    const level = levels[group.status] ?? 'quiet';
    setPill(state.firstChild, level, group.status);
    const sink = this.sinkOf(group);
    const since = level !== 'good' && group.since_ms ? `for ${duration(this.now - group.since_ms)}` : '';
    setText(state.lastChild, sink && sink.level !== 'good' ? `its sink: ${sink.word.toLowerCase()}` : since);
    setAttribute(row, 'title', group.reason);
    const values = [count(group.lag), behind(group), perSecond(group.consumed_per_s), perSecond(group.produced_per_s), catchUp(group)];
    cells.forEach((cell, place) => setText(cell, values[place]));
  }
}
