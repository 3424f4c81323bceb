// The time range of a page and the steps of its queries, computed as Grafana's Prometheus data
// source does.
import { dateTime, rangeUtil, TimeRange } from '@grafana/data';

const MOST_POINTS = 11_000;

export function lastMinutes(minutes: number, now: number): TimeRange {
    const to = dateTime(now);
    const from = dateTime(now - minutes * 60_000);
    return { from, to, raw: { from: `now-${minutes}m`, to: 'now' } };
}

/** `now-30m` -> 30; the preview knows only ranges that end now. */
export function minutesOf(from: string): number {
    const found = /^now-(.+)$/.exec(from);
    return found ? rangeUtil.intervalToMs(found[1]) / 60_000 : 30;
}

export function describeMinutes(minutes: number): string {
    const hours = minutes / 60;
    if (minutes >= 60 && Number.isInteger(hours))
        return hours === 1 ? 'Last 1 hour' : `Last ${hours} hours`;
    return minutes === 1 ? 'Last 1 minute' : `Last ${minutes} minutes`;
}

export interface Steps {
    /** Milliseconds between two points. */
    interval: number;
    /** Milliseconds of `$__rate_interval`. */
    rateInterval: number;
}

/** `minStep` and `scrape` in milliseconds; `points` is the width of the panel in pixels. */
export function stepsFor(
    range: TimeRange,
    points: number,
    scrape: number,
    minStep?: number,
): Steps {
    const least = minStep ?? scrape;
    const { intervalMs } = rangeUtil.calculateInterval(range, points, `${least}ms`);
    const span = range.to.valueOf() - range.from.valueOf();
    const interval = Math.max(intervalMs, Math.ceil(span / MOST_POINTS / 1000) * 1000);
    return { interval, rateInterval: Math.max(interval + least, 4 * least) };
}
