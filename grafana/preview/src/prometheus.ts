// Prometheus's HTTP API, by way of the little server that also serves this page.

export type Labels = Record<string, string>;
export type Sample = [number, string];

export interface Series {
    metric: Labels;
    values: Sample[];
}

export interface ExemplarSeries {
    seriesLabels: Labels;
    exemplars: Array<{ labels: Labels; value: string; timestamp: number }>;
}

async function get<T>(path: string, params: Record<string, string | number> = {}): Promise<T> {
    const query = new URLSearchParams(Object.entries(params).map(([k, v]) => [k, String(v)]));
    const response = await fetch(`/prometheus/api/v1/${path}?${query}`);
    const body = await response.json();
    if (body.status !== 'success')
        throw new Error(body.error ?? `${response.status} from Prometheus`);
    return body.data;
}

export async function queryRange(
    query: string,
    from: number,
    to: number,
    step: number,
): Promise<Series[]> {
    const seconds = step / 1000;
    const start = Math.floor(from / step) * seconds;
    const end = Math.floor(to / step) * seconds;
    const data = await get<{ result: Series[] }>('query_range', {
        query,
        start,
        end,
        step: seconds,
    });
    return data.result;
}

export async function queryInstant(query: string, time: number): Promise<Series[]> {
    type Result = { resultType: string; result: Array<{ metric: Labels; value: Sample }> | Sample };
    const data = await get<Result>('query', { query, time: time / 1000 });
    if (data.resultType === 'scalar') return [{ metric: {}, values: [data.result as Sample] }];
    return (data.result as Array<{ metric: Labels; value: Sample }>).map((s) => ({
        metric: s.metric,
        values: [s.value],
    }));
}

export function queryExemplars(query: string, from: number, to: number): Promise<ExemplarSeries[]> {
    return get('query_exemplars', { query, start: from / 1000, end: to / 1000 });
}

export function series(match: string, from: number, to: number): Promise<Labels[]> {
    return get('series', { 'match[]': match, start: from / 1000, end: to / 1000 });
}

export function labelValues(label: string, from: number, to: number): Promise<string[]> {
    return get(`label/${encodeURIComponent(label)}/values`, { start: from / 1000, end: to / 1000 });
}

/**
 * The shortest scrape interval of all targets, in milliseconds: what a data source would be set to.
 */
export async function scrapeInterval(): Promise<number> {
    const { activeTargets } = await get<{
        activeTargets: Array<{ scrapeInterval: string; labels: Labels }>;
    }>('targets');
    const all = activeTargets.map((t) => {
        const found = /^(?:(\d+)m)?(?:(\d+)s)?$/.exec(t.scrapeInterval);
        return found ? (Number(found[1] ?? 0) * 60 + Number(found[2] ?? 0)) * 1000 : 15_000;
    });
    return all.length > 0 ? Math.min(...all) : 15_000;
}
