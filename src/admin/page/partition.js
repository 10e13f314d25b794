// One partition: what its verdict means, what to look at first, and its window as a picture.

import { el, pill, setPill, setText } from './dom.js';
import { ask } from './live.js';
import { nameOf, rowKey, standing } from './table.js';
import { windowChart } from './chart.js';
import { behind, catchUp, clock, count, meanings, perSecond, states } from './words.js';

const sentence = (text) => text[0].toUpperCase() + text.slice(1);

export class PartitionPanel {
  key = null;

  constructor() {
    this.title = el('h3', { id: 'partition-title', tabindex: -1 });
    this.pill = pill('quiet', '');
    this.why = el('p', { class: 'why' });
    this.meaning = el('p', { class: 'meaning' });
    this.figures = el('dl', { class: 'figures' });
    this.button = el('button', { type: 'button', class: 'primary', hidden: true }, 'Release…');
    this.said = el('p', { class: 'said', role: 'status' });
    this.chart = el('div', { class: 'chart window' });
    this.table = el('tbody');
    this.commits = el('details', {}, el('summary', {}, 'The commits of this window'),
      el('table', { class: 'commits' }, el('thead', {}, el('tr', {}, ['When', 'Committed offset', 'Lag'].map((name) => el('th', { scope: 'col', class: name === 'When' ? '' : 'num' }, name)))), this.table));
    this.node = el('section', { class: 'card partition', 'aria-labelledby': 'partition-title', hidden: true },
      el('div', { class: 'card-head' }, this.title, el('span', { class: 'state' }, this.pill),
        el('button', { type: 'button', class: 'plain close', 'aria-label': 'Close', onclick: () => this.close() }, '✕')),
      this.why, this.meaning, this.figures, el('div', { class: 'buttons' }, this.button), this.said, this.chart, this.commits);
  }

  /** Opens `row`; its window is `place`'s: {cluster, group}, or null if it is in no group. */
  open(row, place, release) {
    this.key = rowKey(row);
    this.place = place;
    this.asking = null;
    setText(this.title, nameOf(row));
    setText(this.said, '');
    this.chart.replaceChildren();
    this.commits.hidden = true;
    this.button.onclick = () => release(row.topic, row.partition);
    this.node.hidden = false;
    this.update(row);
    this.title.focus({ preventScroll: true });
    this.node.scrollIntoView({ block: 'start' });
  }

  close() { this.key = null; this.node.hidden = true; }

  /** The row isn't there any more. */
  gone() { if (this.key) setText(this.said, 'It isn’t here any more.'); }

  say(text) { setText(this.said, text); }

  update(row) {
    const [level, word] = standing(row);
    setPill(this.pill, level, word);
    const state = row.state && row.state !== 'running' ? states[row.state]?.[2] : null;
    setText(this.why, [row.why, row.verdict?.reason].filter(Boolean).map(sentence).join('. ') || state);
    const [means, look] = meanings[row.verdict?.status] ?? [null, null];
    setText(this.meaning, row.state === 'quarantined'
      ? 'It stands still, and its records wait in Kafka. Mend what is said here, then release it.'
      : [state, means, look && `Look first at: ${look}`].filter(Boolean).join(' '));
    this.button.hidden = row.state !== 'quarantined';
    const figures = [['Lag', count(row.lag)], ['Behind by', behind(row.verdict)], ['Read', perSecond(row.verdict?.consumed_per_s)], ['Written', perSecond(row.verdict?.produced_per_s)], ['Caught up', catchUp(row.verdict)], ['Committed', count(row.committed)], ['Log end', count(row.log_end)]];
    this.figures.replaceChildren(...figures.map(([name, value]) => el('div', { class: 'figure' }, el('dt', {}, name), el('dd', {}, value))));
    this.#ask(row);
  }

  async #ask(row) {
    if (!this.place || this.asking === this.key) return;
    const key = this.asking = this.key;
    const { cluster, group } = this.place;
    const path = `/api/v1/groups/${encodeURIComponent(cluster)}/${encodeURIComponent(group)}`;
    try {
      const answer = await ask(`${path}?topic=${encodeURIComponent(row.topic)}&partition=${row.partition}`);
      const detail = await answer.json();
      if (this.key === key) this.#draw(detail);
    } catch {
      // The stream says it when the server is gone; the last picture stays.
    } finally {
      if (this.asking === key) this.asking = null;
    }
  }

  #draw(detail) {
    const partition = detail.partitions[0];
    const width = this.chart.clientWidth;
    const hasWindow = partition?.commits.length > 0 && partition.log_ends.length > 0;
    this.commits.hidden = !hasWindow;
    if (!hasWindow) {
      this.chart.replaceChildren(el('p', { class: 'empty' }, 'Nothing was committed yet, so there is no window to show.'));
      return;
    }
    if (width > 0) this.chart.replaceChildren(windowChart({ ...partition, now_ms: detail.now_ms }, width));
    if (this.commits.open) {
      const rows = partition.commits.slice().reverse();
      this.table.replaceChildren(...rows.map(([ms, offset, lag]) => el('tr', {}, el('td', {}, clock(ms)), el('td', { class: 'num' }, count(offset)), el('td', { class: 'num' }, lag === null ? '–' : count(lag)))));
    }
  }
}
