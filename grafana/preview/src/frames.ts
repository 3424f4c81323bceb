// Prometheus's answers as Grafana's data frames, in the three formats of the Prometheus data
// source.
import {
    createDataFrame,
    DataFrame,
    DataFrameType,
    FieldType,
    formatLabels,
    renderLegendFormat,
} from '@grafana/data';
import { Target } from './dashboard';
import { Labels, Sample, Series } from './prometheus';

const number = (text: string): number =>
    text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text);

/** In a graph "not a number" is a gap; a single value says so. */
const valueOf = ([, text]: Sample, only: boolean): number | null =>
    text === 'NaN' && !only ? null : number(text);

function legendOf(target: Target, labels: Labels): string | undefined {
    if (target.legendFormat === '__auto') return undefined;
    if (target.legendFormat) return renderLegendFormat(target.legendFormat, labels);
    const { __name__: name = '', ...rest } = labels;
    return `${name}${formatLabels(rest)}` || target.expr;
}

/** One frame for each series: a time field and a value field. */
export function seriesFrames(target: Target, found: Series[], step: number): DataFrame[] {
    return found.map(({ metric, values }) => {
        const name = legendOf(target, metric);
        const { __name__: _, ...labels } = metric;
        return createDataFrame({
            refId: target.refId,
            name: name ?? (Object.keys(labels).length === 0 ? target.expr : undefined),
            meta: { type: DataFrameType.TimeSeriesMulti },
            fields: [
                {
                    name: 'Time',
                    type: FieldType.time,
                    values: values.map(([t]) => t * 1000),
                    config: { interval: step },
                },
                {
                    name: 'Value',
                    type: FieldType.number,
                    labels,
                    values: values.map((v) => valueOf(v, values.length === 1)),
                    config: { displayNameFromDS: name },
                },
            ],
        });
    });
}

/** One frame for a query: a row for each sample, a column for each label. */
export function tableFrame(target: Target, found: Series[], ofSeveral: boolean): DataFrame {
    const names = [...new Set(found.flatMap((s) => Object.keys(s.metric)))].sort();
    const rows = found.flatMap((s) => s.values.map((sample) => ({ labels: s.metric, sample })));
    return createDataFrame({
        refId: target.refId,
        fields: [
            { name: 'Time', type: FieldType.time, values: rows.map((r) => r.sample[0] * 1000) },
            ...names.map((name) => ({
                name,
                type: FieldType.string,
                values: rows.map((r) => r.labels[name] ?? ''),
                config: { filterable: true },
            })),
            {
                name: ofSeveral ? `Value #${target.refId}` : 'Value',
                type: FieldType.number,
                values: rows.map((r) => number(r.sample[1])),
            },
        ],
    });
}

/** One frame for a histogram: a field for each bucket, holding what is in that bucket alone. */
export function heatmapFrame(target: Target, found: Series[], step: number): DataFrame {
    const sorted = found
        .filter((s) => s.metric.le !== undefined)
        .sort((a, b) => number(a.metric.le) - number(b.metric.le));
    const times = [...new Set(sorted.flatMap((s) => s.values.map(([t]) => t)))].sort(
        (a, b) => a - b,
    );
    const cumulative = sorted.map((s) => {
        const at = new Map(s.values.map((v) => [v[0], valueOf(v, false)]));
        return times.map((t) => at.get(t) ?? null);
    });
    return createDataFrame({
        refId: target.refId,
        meta: { type: DataFrameType.HeatmapRows },
        fields: [
            {
                name: 'Time',
                type: FieldType.time,
                values: times.map((t) => t * 1000),
                config: { interval: step },
            },
            ...sorted.map((s, row) => ({
                name: s.metric.le,
                type: FieldType.number,
                labels: { le: s.metric.le },
                values: cumulative[row].map((v, i) =>
                    v === null ? null : Math.max(0, v - (cumulative[row - 1]?.[i] ?? 0)),
                ),
            })),
        ],
    });
}
