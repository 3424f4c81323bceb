// Time series: Grafana's TimeSeries, with our annotations and exemplars on top.
import { applyNullInsertThreshold, DataFrame, TimeRange } from '@grafana/data';
import { TimeSeries } from '@grafana/ui';
import { LegendDisplayMode } from '@grafana/schema';
import { useMemo } from 'react';
import { Exemplar } from '../dashboard';
import { Dot, Marks } from '../marks';
import { PanelProps } from './common';

const LEGEND = {
    displayMode: LegendDisplayMode.List,
    placement: 'bottom',
    showLegend: true,
    calcs: [],
};

/**
 * Where a series has no points for longer than a step, its line ends. The library does this for the
 * first one only.
 */
function withGaps(series: DataFrame[], range: TimeRange): DataFrame[] {
    return series.map((frame) =>
        applyNullInsertThreshold({
            frame,
            refFieldPseudoMin: range.from.valueOf(),
            refFieldPseudoMax: range.to.valueOf(),
        }),
    );
}

interface Line {
    refId?: string;
    labels: Record<string, string>;
    color: string;
}

/** That of the line whose labels the exemplar has. */
function colorOf(exemplar: Exemplar, lines: Line[]): string | undefined {
    return lines.find(
        (line) =>
            line.refId === exemplar.refId &&
            Object.entries(line.labels).every(([name, value]) => exemplar.labels[name] === value),
    )?.color;
}

export function TimeSeriesPanel({
    panel,
    data,
    page,
    range,
    annotations,
    width,
    height,
}: PanelProps) {
    const frames = useMemo(() => withGaps(data.series, range), [data]);
    const dots = (yScale: string, lines: Line[]): Dot[] =>
        data.exemplars.map((e) => ({
            time: e.time,
            color: colorOf(e, lines) ?? page.theme.visualization.getColorByName('blue'),
            y: (plot) => {
                const { min, max } = plot.scales[yScale];
                if (min == null || max == null) return undefined;
                return plot.valToPos(Math.min(Math.max(e.value, min), max), yScale, true);
            },
        }));
    return (
        <TimeSeries
            frames={frames}
            timeRange={range}
            timeZone="utc"
            width={width}
            height={height}
            structureRev={1}
            legend={{ ...LEGEND, ...panel.options?.legend }}
        >
            {(config) => {
                const lines = config.getSeries().flatMap(({ props }): Line[] => {
                    const frame = data.series[props.dataFrameFieldIndex?.frameIndex ?? 0];
                    if (!frame || !props.lineColor) return [];
                    const labels = frame.fields.find((f) => f.labels)?.labels ?? {};
                    return [{ refId: frame.refId, labels, color: props.lineColor }];
                });
                return (
                    <Marks
                        config={config}
                        annotations={annotations}
                        dots={dots(config.scaleKeys[1], lines)}
                    />
                );
            }}
        </TimeSeries>
    );
}
