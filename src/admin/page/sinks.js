// Sinks as cards, and what may be done to them.

import { el, figure, pill, setAttribute, setPill, setText } from './dom.js';
import { behind, catchUp, clock, count, duration, perSecond } from './words.js';
import { sparkline } from './chart.js';

export const sinkPath = (name) => `#/sink/${encodeURIComponent(name)}`;

const circuits = {
  closed: 'closed: work flows',
  open: 'open: nothing is sent but a probe every 2 s',
  half_open: 'half open: a probe is out',
};

let cards = 0;

/** One sink's card. `act(verb, sink)` pauses and resumes. */
export class SinkCard {
  constructor(name, act) {
    this.name = name;
    this.title = el('a', { href: sinkPath(name) }, name);
    this.kind = el('span', { class: 'chip' });
    this.pill = pill('quiet', '…');
    this.since = el('span', { class: 'since' });
    this.why = el('p', { class: 'why' });
    this.figures = {
      lag: figure('Lag', 'Records that are left to read'),
      behind: figure('Behind by', 'How old the oldest unread record is'),
      rate: figure('Throughput', 'Records a second, over the last ten seconds: acknowledged by Elasticsearch, put into HDFS’ open files'),
      catchUp: figure('Caught up', 'When all that is there will have been read, at the paces of the last while'),
    };
    this.spark = el('div', { class: 'spark' });
    this.facts = {
      letters: figure('Dead letters', 'Records that were refused and are in the dead letter topic, since the start'),
      acked: figure('Acknowledged', 'Records acknowledged by the sink, since the start'),
      circuit: figure('Circuit', 'Whether the sink’s server is asked for work'),
      commit: figure('Last commit', 'When offsets were last committed to Kafka'),
    };
    this.error = el('p', { class: 'last-error', hidden: true });
    this.button = el('button', { type: 'button', class: 'plain', hidden: true, onclick: () => act(this.verb, this.name) });
    const nodes = (figures) => Object.values(figures).map((one) => one.node);
    const id = `sink-${(cards += 1)}`;
    this.title.id = id;
    this.node = el('article', { class: 'card', 'aria-labelledby': id },
      el('div', { class: 'card-head' }, el('h3', {}, this.title), this.kind, el('span', { class: 'state' }, this.pill, this.since)),
      this.why,
      el('dl', { class: 'figures' }, nodes(this.figures)),
      this.spark,
      el('dl', { class: 'facts' }, nodes(this.facts)),
      this.error,
      el('div', { class: 'buttons' }, this.button));
  }

  update(sink, samples, now) {
    setAttribute(this.node, 'data-level', sink.level);
    setText(this.kind, sink.kind);
    this.kind.hidden = sink.kind === sink.name;
    setPill(this.pill, sink.level, sink.word);
    setText(this.since, sink.since_ms ? `for ${duration(now - sink.since_ms)}` : '');
    setAttribute(this.since, 'title', sink.since_ms ? `since ${clock(sink.since_ms)}` : null);
    setText(this.why, sink.why ?? (sink.num_partitions === 0 ? 'It holds no partition.' : ''));
    setAttribute(this.why, 'hidden', this.why.textContent === '');
    setText(this.figures.lag.value, count(sink.lag));
    setText(this.figures.behind.value, behind(sink.verdict));
    setText(this.figures.rate.value, perSecond(sink.throughput_per_s));
    setText(this.figures.catchUp.value, catchUp(sink.verdict));
    setText(this.facts.letters.value, count(sink.dead_letters));
    setAttribute(this.facts.letters.node, 'data-notable', sink.dead_letters > 0);
    setText(this.facts.acked.value, count(sink.acked_records));
    setText(this.facts.circuit.value, circuits[sink.circuit]?.split(':')[0] ?? sink.circuit);
    setAttribute(this.facts.circuit.node, 'title', circuits[sink.circuit]);
    setText(this.facts.commit.value, sink.last_commit_ms ? `${duration(now - sink.last_commit_ms)} ago` : 'none yet');
    const isShown = sink.last_error && sink.last_error !== sink.why;
    setAttribute(this.error, 'hidden', !isShown);
    setText(this.error, isShown ? `Last error, ${duration(now - sink.last_error_ms)} ago: ${sink.last_error}` : '');
    if ('paused' in sink) {
      this.verb = sink.paused ? 'resume' : 'pause';
      this.button.hidden = false;
      setText(this.button, sink.paused ? 'Resume' : 'Pause');
      setAttribute(this.button, 'aria-label', `${this.button.textContent} ${sink.name}`);
    }
    this.drawSpark(samples, now);
  }

  drawSpark(samples, now) {
    const width = this.spark.clientWidth;
    const last = samples.at(-1)?.[0];
    if (width === 0 || (last === this.drawn?.last && width === this.drawn?.width)) return;
    this.drawn = { last, width };
    this.spark.replaceChildren(sparkline(samples, width, now));
  }
}

/** What a pause and a resume do, before anybody is asked. */
export const actions = {
  pause: {
    title: (name) => `Pause ${name}?`,
    text: 'It takes no more records, finishes and commits what it has, and keeps its partitions. Records wait in Kafka until it is resumed.',
    yes: 'Pause it',
  },
  resume: {
    title: (name) => `Resume ${name}?`,
    text: 'It reads on where it stopped.',
    yes: 'Resume it',
  },
};

/** What is known of a sink besides: workers, and what it likes to tell. */
export function updateAbout(node, sink) {
  const facts = [
    ['Consumer group', sink.group ?? 'none: its partitions are fixed'],
    ['Partitions', `${count(sink.num_partitions)}${sink.num_quarantined ? `, ${sink.num_quarantined} quarantined` : ''}`],
    ['Rebalances', count(sink.rebalances)],
    ['In flight', count(sink.in_flight)],
    ...sink.workers.map((w) => [`Worker ${w.worker}`, [w.state, w.reason, w.kafka_error].filter(Boolean).join(': ')]),
    ...sink.details,
  ];
  const text = JSON.stringify(facts);
  if (node.dataset.shown === text) return;
  node.dataset.shown = text;
  node.replaceChildren(...facts.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
}
