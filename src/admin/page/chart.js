// Pictures: lag over time, and a partition's window. Drawn anew when there is something new; colours come from page.css.

import { svg } from './dom.js';
import { clock, count, duration } from './words.js';

const SPAN_MS = 30 * 60_000;
const LEAST_SPAN_MS = 60_000;
const AWAY = 3;
const BAD = 4;

const linear = (from, to, low, high) => (value) => low + ((value - from) / (to - from || 1)) * (high - low);
const at = (x, y) => `${x.toFixed(1)},${y.toFixed(1)}`;

/** The next round number above. */
function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((step) => step * power >= value) * power;
}

/** From the first sample until now: a minute at least, half an hour at most. */
function span(samples, now) {
  const first = samples[0]?.[0] ?? now;
  return [Math.min(Math.max(first, now - SPAN_MS), now - LEAST_SPAN_MS), now];
}

/** Thins samples to what a width can show; the highest of each place stays. */
function thin(samples, most) {
  if (samples.length <= most) return samples;
  const size = Math.ceil(samples.length / most);
  const thinned = [];
  for (let place = 0; place < samples.length; place += size) {
    thinned.push(samples.slice(place, place + size).reduce((a, b) => ((b[1] ?? -1) > (a[1] ?? -1) ? b : a)));
  }
  return thinned;
}

/** Runs of points without a gap, as the path of a line. */
function line(points) {
  let path = ''; let isDown = false;
  for (const [x, y] of points) {
    if (y === null) isDown = false;
    else { path += `${isDown ? 'L' : 'M'}${at(x, y)}`; isDown = true; }
  }
  return path;
}

function area(points, floor) {
  const known = points.filter(([, y]) => y !== null);
  if (known.length < 2) return '';
  return `M${at(known[0][0], floor)}${known.map(([x, y]) => `L${at(x, y)}`).join('')}L${at(known.at(-1)[0], floor)}Z`;
}

/** Times in which a sink was away, or needed a person. */
function spells(samples, x, top, height, end) {
  const found = [];
  samples.forEach((sample, place) => {
    const level = sample[4] >= AWAY ? sample[4] : null;
    const open = found.at(-1);
    const until = samples[place + 1]?.[0] ?? end;
    if (level !== null && open && open.level === level && open.to === sample[0]) open.to = until;
    else if (level !== null) found.push({ level, from: sample[0], to: until });
  });
  return found.map(({ level, from, to }) => svg('rect', {
    class: level === BAD ? 'spell bad' : 'spell away', x: x(from).toFixed(1), y: top, width: Math.max(1, x(to) - x(from)).toFixed(1), height,
  }));
}

/** The lag of the last while, small. */
export function sparkline(samples, width, now) {
  const height = 44;
  const [from, to] = span(samples, now);
  const x = linear(from, to, 0, width);
  const most = roundUp(Math.max(1, ...samples.map((s) => s[1] ?? 0)));
  const y = linear(0, most, height - 1, 3);
  const points = thin(samples.filter((s) => s[0] >= from), width / 2).map((s) => [x(s[0]), s[1] === null ? null : y(s[1])]);
  const last = samples.at(-1)?.[1];
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, height, role: 'img', 'aria-label': `Lag over the last ${duration(to - from)}: now ${count(last)}, at most ${count(Math.max(0, ...samples.map((s) => s[1] ?? 0)))}` },
    spells(samples, x, 0, height, now),
    svg('line', { class: 'base', x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5 }),
    svg('path', { class: 'lag-area', d: area(points, height - 1) }),
    svg('path', { class: 'lag-line', d: line(points) }));
}

/** Lag and throughput over the last while, with outages and rebalances. `marks`: {ms, text}. */
export function timeLine(samples, marks, width, now) {
  const [left, right, top, high, gap, low, foot] = [width < 500 ? 44 : 60, 6, 20, 130, 34, 64, 22];
  const height = top + high + gap + low + foot;
  const [from, to] = span(samples, now);
  const x = linear(from, to, left, width - right);
  const shown = thin(samples.filter((s) => s[0] >= from), (width - left) / 2);
  const most = (place) => roundUp(Math.max(1, ...shown.map((s) => s[place] ?? 0)));
  const panel = (place, y) => shown.map((s) => [x(s[0]), s[place] === null ? null : y(s[place])]);
  const [mostLag, mostRate] = [most(1), Math.max(most(2), most(3))];
  const lagFloor = top + high; const rateFloor = lagFloor + gap + low;
  const lagY = linear(0, mostLag, lagFloor, top);
  const rateY = linear(0, mostRate, rateFloor, rateFloor - low);
  const label = (value, text, y) => [
    svg('line', { class: 'grid', x1: left, x2: width - right, y1: y(value), y2: y(value) }),
    svg('text', { class: 'tick', x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, text),
  ];
  const ticks = width < 500 ? 2 : 4;
  const times = Array.from({ length: ticks + 1 }, (_, place) => from + ((to - from) * place) / ticks);
  const lagPoints = panel(1, lagY);
  const inView = marks.filter((mark) => mark.ms >= from);
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, height, role: 'img', 'aria-label': `Lag and throughput of the last ${duration(to - from)}; ${inView.length} rebalances` },
    spells(shown, x, top, rateFloor - top, now),
    svg('text', { class: 'title', x: left, y: 12 }, 'Lag, records'),
    svg('text', { class: 'title', x: left, y: lagFloor + gap - 8 }, 'Read a second'),
    svg('text', { class: 'title made', x: left + 112, y: lagFloor + gap - 8 }, 'written a second'),
    label(0, '0', lagY), label(mostLag / 2, count(mostLag / 2), lagY), label(mostLag, count(mostLag), lagY),
    label(0, '0', rateY), label(mostRate, count(mostRate), rateY),
    svg('path', { class: 'lag-area', d: area(lagPoints, lagFloor) }),
    svg('path', { class: 'lag-line', d: line(lagPoints) }),
    svg('path', { class: 'made-line', d: line(panel(3, rateY)) }),
    svg('path', { class: 'rate-line', d: line(panel(2, rateY)) }),
    inView.map(({ ms, text }) => svg('g', { class: 'rebalance' },
      svg('line', { x1: x(ms), x2: x(ms), y1: top, y2: rateFloor }),
      svg('path', { d: `M${at(x(ms) - 5, rateFloor + 7)}L${at(x(ms) + 5, rateFloor + 7)}L${at(x(ms), rateFloor - 1)}Z` }, svg('title', {}, `${clock(ms)}: ${text}`)))),
    times.map((ms, place) => svg('text', {
      class: 'tick', x: x(ms), y: height - 6, 'text-anchor': place === 0 ? 'start' : place === ticks ? 'end' : 'middle',
    }, place === ticks ? 'now' : clock(ms))));
}

/** A partition's window: where the log ended above, what was committed beneath, the lag between them and as bars. */
export function windowChart({ commits, log_ends: ends, now_ms: now }, width) {
  const [left, right, top, high, gap, low, foot] = [8, 8, 24, 170, 34, 70, 22];
  const height = top + high + gap + low + foot;
  const from = commits[0][0];
  const to = Math.max(now, commits.at(-1)[0], from + 1000);
  // The log's end where the window begins: between the looks around it.
  const endAt = (ms) => {
    const after = ends.findIndex(([t]) => t >= ms);
    if (after < 0) return ends.at(-1)?.[1];
    if (after === 0) return ends[0][1];
    const [[t0, o0], [t1, o1]] = [ends[after - 1], ends[after]];
    return o0 + ((o1 - o0) * (ms - t0)) / (t1 - t0 || 1);
  };
  const tops = [[from, endAt(from)], ...ends.filter(([t]) => t > from && t < to), [to, ends.at(-1)?.[1]]].filter(([, o]) => o !== undefined);
  const offsets = [...commits.map((c) => c[1]), ...tops.map((t) => t[1])];
  const x = linear(from, to, left + 4, width - right - 4);
  const [least, most] = [Math.min(...offsets), Math.max(...offsets)];
  const y = linear(least, Math.max(most, least + 1), top + high - 10, top + 10);
  const committed = [...commits.map(([t, o]) => [x(t), y(o)]), [x(to), y(commits.at(-1)[1])]];
  const ended = tops.map(([t, o]) => [x(t), y(o)]);
  const between = ended.length > 1 ? `M${[...ended, ...committed.slice().reverse()].map(([a, b]) => at(a, b)).join('L')}Z` : '';
  const newest = commits.at(-1);
  const lagNow = Math.max(0, (ends.at(-1)?.[1] ?? newest[1]) - newest[1]);
  const mostLag = Math.max(1, lagNow, ...commits.map((c) => c[2] ?? 0));
  const floor = top + high + gap + low;
  const barY = linear(0, mostLag, floor, floor - low);
  const wide = Math.max(3, Math.min(22, ((width - 16) / (commits.length + 1)) * 0.6));
  const bar = (ms, lag, name, words) => {
    const place = Math.min(Math.max(x(ms) - wide / 2, left), width - right - wide);
    const up = lag === 0 ? floor - 2 : Math.min(barY(lag), floor - 2);
    return svg('rect', { class: name, x: place, y: up, width: wide, height: floor - up }, svg('title', {}, `${words}: lag ${count(lag)}`));
  };
  const first = commits[0];
  return svg('svg', {
    viewBox: `0 0 ${width} ${height}`, height, role: 'img',
    'aria-label': `In ${duration(to - from)} the committed offset went from ${count(first[1])} to ${count(newest[1])}, and the log’s end from ${count(tops[0]?.[1])} to ${count(tops.at(-1)?.[1])}; the lag is ${count(lagNow)}`,
  },
    svg('text', { class: 'title ends', x: left, y: 13 }, `Log end ${count(ends.at(-1)?.[1])}`),
    svg('text', { class: 'title commits', x: width - right, y: 13, 'text-anchor': 'end' }, `Committed ${count(newest[1])}`),
    svg('path', { class: 'between', d: between }),
    svg('path', { class: 'ends-line', d: line(ended) }),
    svg('path', { class: 'commits-line', d: line(committed) }),
    commits.map(([t, o, lag]) => svg('circle', { class: 'commit', cx: x(t), cy: y(o), r: 4 }, svg('title', {}, `${clock(t)}: committed ${count(o)}${lag === null ? '' : `, lag ${count(lag)}`}`))),
    svg('text', { class: 'title', x: left, y: top + high + gap - 8 }, `Lag at each commit, and now: ${count(lagNow)}`),
    svg('line', { class: 'base', x1: left, x2: width - right, y1: floor + 0.5, y2: floor + 0.5 }),
    commits.filter((c) => c[2] !== null).map(([t, , lag]) => bar(t, lag, 'bar', clock(t))),
    bar(to, lagNow, 'bar now', 'now'),
    svg('text', { class: 'tick', x: left, y: height - 6 }, clock(from)),
    svg('text', { class: 'tick', x: width - right, y: height - 6, 'text-anchor': 'end' }, 'now'));
}

