// From a panel of the dashboard to what it shows: queries, frames, transformations, field
// overrides.
import { GrafanaTheme2, rangeUtil, TimeRange } from '@grafana/data';
import { Dashboard, Exemplar, Panel, PanelData, Target } from './dashboard';
import { fieldConfigOf, transformed, withFieldConfig } from './fields';
import { heatmapFrame, seriesFrames, tableFrame } from './frames';
import { ExemplarSeries, queryExemplars, queryInstant, queryRange } from './prometheus';
import { describeMinutes, lastMinutes, minutesOf, Steps, stepsFor } from './time';
import { Scope, Variables } from './variables';

export interface Page {
    dashboard: Dashboard;
    variables: Variables;
    range: TimeRange;
    scrape: number;
    theme: GrafanaTheme2;
}

export function rangeOf(panel: Panel, page: Page): TimeRange {
    return panel.timeFrom
        ? lastMinutes(minutesOf(`now-${panel.timeFrom}`), page.range.to.valueOf())
        : page.range;
}

/** What Grafana writes next to the title of a panel with its own time range. */
export function rangeNote(panel: Panel): string | undefined {
    return panel.timeFrom ? describeMinutes(minutesOf(`now-${panel.timeFrom}`)) : undefined;
}

export function scopeOf(panel: Panel): Scope {
    return panel.repeatValue ? { [panel.repeatValue.name]: panel.repeatValue.value } : {};
}

export async function load(panel: Panel, width: number, page: Page): Promise<PanelData> {
    const range = rangeOf(panel, page);
    const targets = (panel.targets ?? []).filter((t) => !t.hide && t.expr);
    const context = {
        panel,
        page,
        range,
        points: panel.maxDataPoints ?? width,
        ofSeveral: targets.length > 1,
    };
    const found = await Promise.all(targets.map((t) => ask(t, context)));
    const frames = found.flatMap((f) => f.frames);
    const fieldConfig = fieldConfigOf(panel);
    const series = withFieldConfig(
        await transformed(frames, panel.transformations ?? []),
        fieldConfig,
        page.theme,
        (text) => page.variables.inText(text, scopeOf(panel)),
    );
    return {
        series,
        exemplars: found.flatMap((f) => f.exemplars),
        step: found[0]?.steps.interval ?? page.scrape,
    };
}

interface Context {
    panel: Panel;
    page: Page;
    range: TimeRange;
    /** The most points of a line. */
    points: number;
    /** Whether the panel has other queries too. */
    ofSeveral: boolean;
}

async function ask(target: Target, { panel, page, range, points, ofSeveral }: Context) {
    const [from, to] = [range.from.valueOf(), range.to.valueOf()];
    const least = target.interval || panel.interval;
    const minStep = least
        ? rangeUtil.intervalToMs(page.variables.inText(least.replace(/^>/, '')))
        : undefined;
    const steps = stepsFor(range, points, page.scrape, minStep);
    const expr = page.variables.inQuery(target.expr, {
        ...timeScope(steps, from, to),
        ...scopeOf(panel),
    });
    if (target.instant && !target.range) {
        const found = await queryInstant(expr, to);
        const frames =
            target.format === 'table'
                ? [tableFrame(target, found, ofSeveral)]
                : seriesFrames(target, found, steps.interval);
        return { frames, exemplars: [], steps };
    }
    const found = await queryRange(expr, from, to, steps.interval);
    const exemplars = target.exemplar
        ? sparse(await queryExemplars(expr, from, to), target.refId, steps.interval)
        : [];
    const frames =
        target.format === 'heatmap'
            ? found.length > 0
                ? [heatmapFrame(target, found, steps.interval)]
                : []
            : target.format === 'table'
              ? [tableFrame(target, found, ofSeveral)]
              : seriesFrames(target, found, steps.interval);
    return { frames, exemplars, steps };
}

function timeScope(steps: Steps, from: number, to: number): Scope {
    const seconds = Math.round((to - from) / 1000);
    return {
        __interval: duration(steps.interval),
        __interval_ms: String(steps.interval),
        __rate_interval: duration(steps.rateInterval),
        __rate_interval_ms: String(steps.rateInterval),
        __range: `${seconds}s`,
        __range_s: String(seconds),
        __range_ms: String(to - from),
    };
}

const duration = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`);

/** Of the exemplars of one step only those that are far apart, as Grafana shows them. */
function sparse(found: ExemplarSeries[], refId: string, step: number): Exemplar[] {
    const all = found
        .flatMap((s) => s.exemplars.map((e) => ({ ...e, labels: s.seriesLabels })))
        .map((e) => ({
            time: e.timestamp * 1000,
            value: Number(e.value),
            refId,
            labels: e.labels,
        }))
        .filter((e) => Number.isFinite(e.value));
    const mean = all.reduce((sum, e) => sum + e.value, 0) / all.length;
    const deviation = Math.sqrt(
        all.reduce((sum, e) => sum + (e.value - mean) ** 2, 0) / all.length,
    );
    const kept = new Map<number, Exemplar[]>();
    for (const e of all.sort((a, b) => b.value - a.value)) {
        const bucket = Math.floor(e.time / step);
        const others = kept.get(bucket) ?? [];
        if (others.every((o) => o.value - e.value > 2 * deviation))
            kept.set(bucket, [...others, e]);
    }
    return [...kept.values()].flat();
}
