// The page: hears the stream, keeps what it said, and shows one of three views: all, a sink, a group.

import { byId, el, keyed, pill, setAttribute, setPill, setText } from './dom.js';
import { Stream, Unauthorised, ask, askForToken } from './live.js';
import { SinkCard, actions, sinkPath, updateAbout } from './sinks.js';
import { GroupList, groupKey } from './groups.js';
import { PartitionTable } from './table.js';
import { PartitionPanel } from './partition.js';
import { JournalList } from './journal.js';
import { timeLine } from './chart.js';
import { behind, catchUp, count, duration, levels, meanings, perSecond } from './words.js';

const REBALANCES = new Set(['assigned', 'revoked', 'lost']);

/** What the stream said. */
const known = { boot: null, kind: 'run', sinks: new Map(), groups: new Map(), groupsLeftOut: 0, clusters: [], samples: new Map(), heardAt: 0, ahead: 0 };
const journal = new JournalList();
let view = null;

/** The server's time. */
const now = () => Date.now() + known.ahead;

const hear = {
  hello(data) {
    known.boot = data.boot;
    known.kind = data.kind;
    setText(byId('about'), `${data.kind === 'monitor' ? 'monitor' : 'sinks'} · ${location.host} · ${data.version}`);
    // A new connection tells everything anew.
    known.sinks.clear(); known.groups.clear();
  },
  head(data) {
    setAttribute(byId('head'), 'data-level', data.level);
    setText(byId('head-text'), data.text);
    setText(byId('head-more'), data.more);
    byId('head-more').hidden = !data.more;
    const sign = { good: '', quiet: '', busy: '● ', waiting: '▲ ', bad: '■ ' }[data.level];
    document.title = `${sign}${data.text.replace(/\.$/, '')} · outflow`;
  },
  sinks: ({ changed, gone }) => merge(known.sinks, changed, gone, (sink) => sink.name),
  groups(data) {
    merge(known.groups, data.changed, data.gone, groupKey);
    known.groupsLeftOut = data.left_out;
  },
  clusters(data) { known.clusters = data; },
  rows(data) { view?.table?.take(data); },
  samples({ key, whole, samples }) {
    const before = whole ? [] : known.samples.get(key) ?? [];
    known.samples.set(key, [...before, ...samples].slice(-900));
  },
  events({ entries }) { journal.add(known.boot, entries); },
  now(data) {
    known.ahead = data.now_ms - Date.now();
    known.heardAt = Date.now();
    draw();
  },
};

function merge(map, changed, gone, keyOf) {
  gone.forEach((key) => map.delete(key));
  changed.forEach((item) => map.set(keyOf(item), item));
}

/** Draws once a frame, however much was heard. */
let frame = 0;
function draw() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    view?.draw();
    journal.redraw();
  });
}

const stream = new Stream((event, data) => hear[event]?.(data), (state, words) => {
  setAttribute(byId('link'), 'data-state', state);
  const age = state === 'off' && known.heardAt ? `, as of ${duration(Date.now() - known.heardAt)} ago` : '';
  setText(byId('link-text'), words + age);
  setAttribute(byId('main'), 'data-stale', state === 'off' && known.heardAt > 0);
});

const sinkOf = (group) => (group.sink ? known.sinks.get(group.sink) : undefined);
const samplesOf = (key) => known.samples.get(key) ?? [];

/** Asks a person, then the server; shows what the server says against it. */
function act({ title, text, yes, path, done }) {
  const dialog = byId('ask');
  const button = byId('ask-yes');
  setText(byId('ask-title'), title);
  setText(byId('ask-text'), text);
  setText(byId('ask-wrong'), '');
  setText(button, yes);
  button.disabled = false;
  byId('ask-no').onclick = () => dialog.close();
  button.onclick = async () => {
    button.disabled = true;
    setText(byId('ask-wrong'), '');
    try {
      await ask(path, { method: 'POST' });
      dialog.close();
      done?.();
    } catch (error) {
      if (error instanceof Unauthorised && await askForToken()) return button.onclick();
      setText(byId('ask-wrong'), error instanceof Unauthorised ? 'That needs the token.' : error.message);
      button.disabled = false;
    }
  };
  dialog.showModal();
  byId('ask-no').focus();
}

function actOnSink(verb, name) {
  const { title, text, yes } = actions[verb];
  act({ title: title(name), text, yes, path: `/api/v1/sinks/${encodeURIComponent(name)}/${verb}` });
}

/** Everything at a glance. */
class Overview {
  query = '';

  constructor() {
    this.cards = new Map();
    this.grid = el('div', { class: 'cards' });
    this.sinks = el('section', { 'aria-labelledby': 'sinks-title' }, el('div', { class: 'section-head' }, el('h2', { id: 'sinks-title' }, 'Sinks')), this.grid);
    this.groups = new GroupList();
    this.clusters = el('ul', { class: 'clusters' });
    this.groupsSection = el('section', { 'aria-labelledby': 'groups-title' },
      el('div', { class: 'section-head' }, el('h2', { id: 'groups-title' }, 'Consumer groups')), this.clusters, this.groups.node);
    this.node = el('div', {}, this.sinks, this.groupsSection);
    journal.show(() => true, 'What happened');
  }

  draw() {
    this.sinks.hidden = known.kind === 'monitor';
    keyed(this.grid, this.nodes ??= new Map(), [...known.sinks.values()], (s) => s.name, (s) => {
      const card = new SinkCard(s.name, actOnSink);
      this.cards.set(s.name, card);
      return card.node;
    }, (_, s) => this.cards.get(s.name).update(s, samplesOf(`sink:${s.name}`), now()));
    this.groupsSection.hidden = known.groups.size === 0 && known.kind !== 'monitor';
    const troubled = known.clusters.filter((c) => c.trouble || !c.is_ready);
    this.clusters.hidden = troubled.length === 0;
    this.clusters.replaceChildren(...troubled.map((c) => el('li', {}, `Cluster ${c.cluster}: ${c.trouble ?? 'what groups have committed is being read'}`)));
    this.groups.update([...known.groups.values()], known.groupsLeftOut, known.clusters.length > 1, now(), sinkOf);
  }
}

/** A sink or a group: how it stands, the time line, its partitions. */
class Detail {
  constructor(title) {
    this.back = el('p', { class: 'back' }, el('a', { href: '#/' }, '← All'));
    this.chart = el('div', { class: 'chart' });
    this.panel = new PartitionPanel();
    this.table = new PartitionTable((row) => this.openPartition(row));
    this.top = el('div', {});
    this.node = el('div', {}, this.back, this.top,
      el('section', { class: 'card', 'aria-labelledby': 'time-title' }, el('h3', { id: 'time-title' }, 'The last while'), this.chart,
        el('p', { class: 'legend' }, el('span', { class: 'key away' }, 'away'), el('span', { class: 'key bad' }, 'needs you'), el('span', { class: 'key rebalance' }, 'rebalance'))),
      this.panel.node,
      el('section', { 'aria-labelledby': 'partitions-title' }, el('div', { class: 'section-head' }, el('h2', { id: 'partitions-title' }, 'Partitions')), this.table.node));
    setText(byId('journal-title'), title);
  }

  drawChart(key, entries) {
    const samples = samplesOf(key);
    const width = this.chart.clientWidth;
    const state = JSON.stringify([samples.at(-1)?.[0], width, entries.length]);
    if (width === 0 || this.drawn === state) return;
    this.drawn = state;
    const marks = entries.filter((e) => REBALANCES.has(e.about)).map((e) => ({ ms: e.at_ms, text: e.text }));
    this.chart.replaceChildren(timeLine(samples, marks, width, now()));
  }

  openPartition(row) {
    this.table.choose(JSON.stringify([row.topic, row.partition]));
    this.panel.open(row, this.place(), (topic, partition) => this.release?.(topic, partition));
    this.table.redraw();
  }

  drawPartitions() {
    this.table.redraw();
    const row = this.panel.key && this.table.rows.get(this.panel.key);
    if (row) this.panel.update(row, now());
    else this.panel.gone();
  }
}

class SinkView extends Detail {
  constructor(name) {
    super(`What happened to ${name}`);
    this.name = name;
    this.query = `?sink=${encodeURIComponent(name)}`;
    this.card = new SinkCard(name, actOnSink);
    this.about = el('dl', { class: 'about-sink' });
    this.card.title.replaceWith('How it stands');
    this.card.node.setAttribute('aria-labelledby', 'view-title');
    this.top.append(el('h2', { id: 'view-title' }, `Sink ${name}`), this.card.node);
    this.node.append(el('details', { class: 'card' }, el('summary', {}, 'Workers, and what the sink tells of itself'), this.about));
    this.isMine = (entry) => entry.sink === name || entry.about === 'process';
    journal.show(this.isMine, `What happened to ${name}`);
  }

  place() {
    const sink = known.sinks.get(this.name);
    return sink?.group && sink.cluster ? { cluster: sink.cluster, group: sink.group } : null;
  }

  draw() {
    const sink = known.sinks.get(this.name);
    this.top.hidden = !sink;
    if (!sink) return;
    const key = `sink:${this.name}`;
    this.card.update(sink, samplesOf(key), now());
    updateAbout(this.about, sink);
    this.drawChart(key, journal.sorted().filter(this.isMine));
    this.drawPartitions();
  }

  release(topic, partition) {
    act({
      title: `Release ${topic}[${partition}]?`,
      text: 'The sink opens it again and reads on from what was last acknowledged. If what is wrong isn’t mended, it is quarantined again.',
      yes: 'Release it',
      path: `/api/v1/sinks/${encodeURIComponent(this.name)}/partitions/${encodeURIComponent(topic)}/${partition}/release`,
      done: () => this.panel.say(`${topic}[${partition}] was released.`),
    });
  }
}

class GroupView extends Detail {
  constructor(cluster, group) {
    super(`What happened to ${group}`);
    this.cluster = cluster; this.group = group;
    this.query = `?cluster=${encodeURIComponent(cluster)}&group=${encodeURIComponent(group)}`;
    this.pill = pill('quiet', '…');
    this.since = el('span', { class: 'since' });
    this.why = el('p', { class: 'why' });
    this.meaning = el('p', { class: 'meaning' });
    this.sink = el('p', { class: 'meaning', hidden: true });
    this.figures = el('dl', { class: 'figures' });
    this.top.append(el('h2', {}, `Group ${group}`), el('section', { class: 'card', 'aria-label': 'How it is judged' },
      el('div', { class: 'card-head' }, el('h3', {}, `Cluster ${cluster}`), el('span', { class: 'state' }, this.pill, this.since)), this.why, this.meaning, this.sink, this.figures));
    this.isMine = (entry) => (entry.cluster === cluster && entry.group === group) || entry.about === 'process' || entry.about === 'cluster';
    journal.show(this.isMine, `What happened to ${group}`);
  }

  place() { return { cluster: this.cluster, group: this.group }; }

  draw() {
    const key = JSON.stringify([this.cluster, this.group]);
    const group = known.groups.get(key);
    if (group) {
      const level = levels[group.status] ?? 'quiet';
      setPill(this.pill, level, group.status);
      setText(this.since, group.since_ms ? `for ${duration(now() - group.since_ms)}` : '');
      setText(this.why, group.reason);
      const [means, look] = meanings[group.status] ?? ['', null];
      setText(this.meaning, means + (look ? ` Look first at: ${look}` : ''));
      const sink = sinkOf(group);
      this.sink.hidden = !sink;
      if (sink) this.sink.replaceChildren('It is the group of the sink ', el('a', { href: sinkPath(sink.name) }, sink.name), `, here: ${sink.word.toLowerCase()}.`);
      const figures = [['Lag', count(group.lag)], ['Behind by', behind(group)], ['Read', perSecond(group.consumed_per_s)], ['Written', perSecond(group.produced_per_s)], ['Caught up', catchUp(group)], ['Partitions', count(group.num_partitions)], ['Not OK', count(group.num_bad)]];
      const text = JSON.stringify(figures);
      if (this.shown !== text) {
        this.shown = text;
        this.figures.replaceChildren(...figures.map(([name, value]) => el('div', { class: 'figure' }, el('dt', {}, name), el('dd', {}, value))));
      }
    }
    this.drawChart(key, journal.sorted().filter(this.isMine));
    this.drawPartitions();
  }
}

function route() {
  let parts = [];
  try {
    parts = location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  } catch { /* not one of ours */ }
  const [kind, ...names] = parts;
  if (kind === 'sink' && names.length === 1) return new SinkView(names[0]);
  if (kind === 'group' && names.length === 2) return new GroupView(...names);
  return new Overview();
}

let isFirst = true;
function go() {
  view = route();
  byId('view').replaceChildren(view.node);
  stream.open(view.query);
  draw();
  if (!isFirst) { scrollTo(0, 0); byId('main').focus({ preventScroll: true }); }
  isFirst = false;
}

addEventListener('hashchange', go);
addEventListener('resize', draw);
byId('link').dataset.state = 'wait';
go();
