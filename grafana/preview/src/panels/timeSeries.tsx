// Time series: Grafana's TimeSeries, with our annotations and exemplars on top.
import { applyNullInsertThreshold, DataFrame, TimeRange } from '@grafana/data';
import { TimeSeries } from '@grafana/ui';
import { LegendDisplayMode } from '@grafana/schema';
import { useMemo } from 'react';
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
    const dots = (yScale: string, colors: Map<string, string>): Dot[] =>
        data.exemplars.map((e) => ({
            time: e.time,
            color: colors.get(e.refId) ?? page.theme.visualization.getColorByName('blue'),
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
                const colors = new Map<string, string>();
                for (const { props } of config.getSeries()) {
                    const refId = data.series[props.dataFrameFieldIndex?.frameIndex ?? 0]?.refId;
                    if (refId && props.lineColor && !colors.has(refId))
                        colors.set(refId, props.lineColor);
                }
                return (
                    <Marks
                        config={config}
                        annotations={annotations}
                        dots={dots(config.scaleKeys[1], colors)}
                    />
                );
            }}
        </TimeSeries>
    );
}
