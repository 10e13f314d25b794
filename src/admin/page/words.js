// Figures and verdicts, as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

/** 5,233; from ten million on 12.3M. */
export function count(number) {
  if (!isNumber(number)) return '–';
  return Math.abs(number) < 1e7 ? whole.format(number) : short.format(number);
}

export function perSecond(rate) {
  if (!isNumber(rate)) return '–';
  return rate !== 0 && rate < 10 ? `${rate.toFixed(1)}/s` : `${count(Math.round(rate))}/s`;
}

/** 0.4 s, 26 s, 3 min 20 s, 5 h 2 min, 3 d 4 h. */
export function duration(ms) {
  return spell(ms).replaceAll(' ', '\u00a0');
}

function spell(ms) {
  if (!isNumber(ms)) return '–';
  const s = Math.max(0, ms) / 1000;
  if (s < 1) return s < 0.05 ? '0 s' : `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
}

export function day(ms) {
  return new Date(ms).toLocaleDateString('en', { weekday: 'long', day: 'numeric', month: 'long' });
}

/** The lag in time of a verdict. */
export function behind(verdict) {
  if (!verdict || !isNumber(verdict.time_lag_ms)) return '–';
  return (verdict.time_lag_is_more ? 'over ' : '') + duration(verdict.time_lag_ms);
}

export function catchUp(verdict) {
  if (!verdict) return '–';
  switch (verdict.catch_up) {
    case 'done': return 'now';
    case 'in_seconds': return `in about ${duration(Math.max(1, verdict.catch_up_s) * 1000)}`;
    case 'keeps_up': return 'keeps up';
    case 'never': return 'not at this pace';
    default: return '–';
  }
}

export const levels = { OK: 'good', WARN: 'waiting', ERR: 'bad', STOP: 'bad', STALL: 'bad', REWIND: 'bad' };

/** What a verdict means, and what to look at first. */
export const meanings = {
  OK: ['It is read to its end now and then, or gets closer to it.', null],
  WARN: ['Records come faster than they are read, so the lag grows.', 'The consumer’s throughput: is what it writes to slow? Are there members enough?'],
  STOP: ['Nothing is committed any more, though there is something to read.', 'Whether the consumer runs at all, and the last lines of its log.'],
  STALL: ['The consumer commits the same offset again and again: it is alive and doesn’t get on.', 'What it does with the record at that offset: its log, and what it writes to.'],
  REWIND: ['The committed offset went back and hasn’t made up for it.', 'Who reset the group, and whether that was meant.'],
  ERR: ['A partition is stopped, stalled, or went back.', 'The worst partition below.'],
};

export const states = {
  locating: ['busy', 'Locating', 'Its position is being looked up in Kafka.'],
  opening: ['busy', 'Opening', 'The sink is opening it.'],
  running: ['good', 'Running', 'Records flow.'],
  waiting: ['quiet', 'Its turn comes', 'It is open, and waits for its turn or for room.'],
  draining: ['busy', 'Draining', 'What was taken is finished before it is given back.'],
  quarantined: ['bad', 'Quarantined', 'It stands still until a person acts or the fault goes away.'],
};
